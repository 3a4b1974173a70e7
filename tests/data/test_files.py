import functools
import hashlib
import os

import keras
import numpy as np
import pytest

from su_models.data.dataset import Dataset, File
from su_models.data.files import locate, read_npz, verify


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def toy(files=(), downloads=()):
    return Dataset("toy", "", "", "", {"train": 1}, dict, files, downloads)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of the set `toy` under a new $SU_MODELS_DATA."""
    monkeypatch.setenv("SU_MODELS_DATA", str(tmp_path))
    (tmp_path / "toy").mkdir()
    return tmp_path / "toy"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder that serves files, and Keras' cache in a new place."""
    monkeypatch.delenv("SU_MODELS_DATA", raising=False)
    cached = functools.partial(
        keras.utils.get_file, cache_dir=str(tmp_path / "cache")
    )
    monkeypatch.setattr(keras.utils, "get_file", cached)
    (tmp_path / "cache").mkdir()
    (tmp_path / "server").mkdir()
    return tmp_path / "server"


def served(server, name, content):
    (server / name).write_bytes(content)
    return File(name, sha256(content), (server / name).as_uri())


def test_converted_files_are_found_in_the_folder(folder):
    (folder / "a.bin").write_bytes(b"a")
    dataset = toy(files=(File("a.bin", sha256(b"a")),))
    assert locate(dataset) == {"a.bin": folder / "a.bin"}


def test_some_of_the_converted_files_are_enough(folder):
    (folder / "b.bin").write_bytes(b"b")
    files = File("a.bin", sha256(b"a")), File("b.bin", sha256(b"b"))
    assert locate(toy(files)) == {"b.bin": folder / "b.bin"}


def test_whole_published_files_come_before_converted_ones(folder):
    for name in ("a.bin", "b.gz", "c.gz"):
        (folder / name).write_bytes(name.encode())
    files = (File("a.bin", sha256(b"a.bin")),)
    downloads = File("b.gz", sha256(b"b.gz")), File("c.gz", sha256(b"c.gz"))
    assert list(locate(toy(files, downloads))) == ["b.gz", "c.gz"]
    (folder / "c.gz").unlink()
    assert list(locate(toy(files, downloads))) == ["a.bin"]


def test_a_file_may_be_the_converted_or_the_published_one(folder):
    dataset = toy(
        (File("a.npz", sha256(b"ours")),),
        (File("a.npz", sha256(b"theirs"), "https://example.org/a.npz"),),
    )
    for content in (b"ours", b"theirs"):
        (folder / "a.npz").write_bytes(content)
        assert locate(dataset) == {"a.npz": folder / "a.npz"}
    (folder / "a.npz").write_bytes(b"neither")
    both = f"{sha256(b'theirs')}|{sha256(b'ours')}"
    with pytest.raises(ValueError, match=f"({both}) or ({both})"):
        locate(dataset)


def test_a_wrong_checksum_is_refused(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"b")
    expected, received = sha256(b"a"), sha256(b"b")
    with pytest.raises(ValueError) as error:
        verify(path, [expected])
    assert str(path) in str(error.value)
    assert f"must be {expected}" in str(error.value)
    assert str(error.value).endswith(f"Received: sha256={received}")


def test_an_embedded_set_needs_no_folder(monkeypatch):
    monkeypatch.setenv("SU_MODELS_DATA", "/no/such/folder")
    assert locate(toy()) == {}


def test_a_variable_that_names_no_folder_is_refused(monkeypatch):
    monkeypatch.setenv("SU_MODELS_DATA", "/no/such/folder")
    with pytest.raises(ValueError, match="Received: SU_MODELS_DATA=/no/such"):
        locate(toy((File("a.bin", sha256(b"a")),)))


def test_a_download_is_cached(server, capsys):
    file = served(server, "a.bin", b"content")
    (path,) = locate(toy(downloads=(file,))).values()
    assert path.read_bytes() == b"content"
    assert path.parts[-3:] == ("su_models", "toy", "a.bin")
    (server / "a.bin").unlink()
    assert locate(toy(downloads=(file,))) == {"a.bin": path}
    assert capsys.readouterr().out.count("Downloading") == 1


def test_the_folder_comes_before_the_download(server, folder):
    file = served(server, "a.bin", b"content")
    assert "cache" in str(locate(toy(downloads=(file,)))["a.bin"])
    (folder / "a.bin").write_bytes(b"content")
    assert locate(toy(downloads=(file,))) == {"a.bin": folder / "a.bin"}


def test_a_damaged_download_is_refused_and_fetched_again(server):
    file = served(server, "a.bin", b"content")
    (server / "a.bin").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=f"{file.sha256}.*url={file.url}"):
        locate(toy(downloads=(file,)))
    (server / "a.bin").write_bytes(b"content")
    assert locate(toy(downloads=(file,)))["a.bin"].read_bytes() == b"content"


def test_a_set_that_is_nowhere_says_what_to_set(server):
    file = served(server, "a.bin", b"content")
    os.unlink(server / "a.bin")
    advice = (
        r"`toy` was neither found nor downloaded \(.*a\.bin.*\)\. "
        r"Set the environment variable SU_MODELS_DATA .* "
        r"put a\.bin into \$SU_MODELS_DATA/toy\. Received: SU_MODELS_DATA=$"
    )
    with pytest.raises(FileNotFoundError, match=advice):
        locate(toy(downloads=(file,)))


def test_a_set_without_an_address_says_what_to_set(folder):
    dataset = toy(files=(File("a.bin", sha256(b"a")),))
    with pytest.raises(FileNotFoundError, match="no address is known.*a.bin"):
        locate(dataset)


def test_arrays_come_in_the_order_of_the_keys(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(3), y=np.ones(2))
    y, x = read_npz(tmp_path / "a.npz", ("y", "x"))
    assert (y.tolist(), x.tolist()) == ([1, 1], [0, 1, 2])


def test_a_missing_key_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(3), z=np.ones(2))
    with pytest.raises(ValueError, match=r"y not found.*keys=\['x', 'z'\]"):
        read_npz(tmp_path / "a.npz", ("x", "y"))


@pytest.mark.parametrize("size", [0, 1, 40, 200, -1])
def test_a_truncated_file_is_refused(tmp_path, size):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.arange(300))
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="Not a whole .npz.*path=.*a.npz"):
        read_npz(path, ("x",))


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros(300, "uint8"))
    content = bytearray(path.read_bytes())
    content[300] ^= 1  # a value: the directory of the archive stays whole
    path.write_bytes(content)
    with pytest.raises(ValueError, match="Not a whole .npz"):
        read_npz(path, ("x",))


def test_a_bare_array_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    with pytest.raises(ValueError, match="Not a whole .npz"):
        read_npz(tmp_path / "a.npy", ("x",))


def test_nothing_is_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="Not a whole .npz.*allow_pickle"):
        read_npz(tmp_path / "a.npz", ("x",))
