import dataclasses
import gzip
import hashlib
import os
import pathlib

import numpy as np
import pytest

from su_models.data import load
from su_models.data.dataset import File
from su_models.data.mnist import FASHION_MNIST, IDX, MNIST, load_mnist, read_idx
from su_models.data.registry import REGISTRY


def made(train=5, test=3):
    """Small arrays in the form of MNIST."""
    random = np.random.default_rng(0)
    return {
        "x_train": random.integers(0, 256, (train, 28, 28), "uint8"),
        "y_train": random.integers(0, 10, train, "uint8"),
        "x_test": random.integers(0, 256, (test, 28, 28), "uint8"),
        "y_test": random.integers(0, 10, test, "uint8"),
    }


def idx(array):
    """The bytes of an idx file, written out by hand."""
    header = bytes([0, 0, 8, array.ndim])
    for n in array.shape:
        header += n.to_bytes(4, "big")
    return gzip.compress(header + array.tobytes())


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a small `mnist.npz`, which the registry takes for it."""
    monkeypatch.setenv("SU_MODELS_DATA", str(tmp_path))
    path = tmp_path / "mnist" / "mnist.npz"
    path.parent.mkdir()
    np.savez_compressed(path, **made())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    small = dataclasses.replace(
        MNIST,
        files=(File("mnist.npz", digest),),
        sizes={"train": 5, "test": 3},
    )
    monkeypatch.setitem(REGISTRY, "mnist", small)
    return path.parent


def check(splits):
    arrays = made()
    for name in ("train", "test"):
        x, y = splits[name]["x"], splits[name]["y"]
        np.testing.assert_array_equal(x, arrays[f"x_{name}"][..., None])
        np.testing.assert_array_equal(y, arrays[f"y_{name}"])


def test_npz_file(folder):
    check(load("mnist"))


def test_idx_files(tmp_path):
    arrays = made()
    for name, array in zip(IDX, arrays.values(), strict=True):
        (tmp_path / name).write_bytes(idx(array))
    check(load_mnist({name: tmp_path / name for name in IDX}))


def test_idx_files_are_told_by_name_not_by_order(tmp_path):
    for name, array in zip(IDX, made().values(), strict=True):
        (tmp_path / name).write_bytes(idx(array))
    check(load_mnist({name: tmp_path / name for name in reversed(IDX)}))


def test_another_file_is_refused(folder):
    received = hashlib.sha256(b"something else").hexdigest()
    (folder / "mnist.npz").write_bytes(b"something else")
    with pytest.raises(ValueError, match=rf"mnist\.npz`.*sha256={received}"):
        load("mnist")


def test_a_truncated_file_is_refused(folder):
    path = folder / "mnist.npz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"mnist\.npz` is damaged"):
        load("mnist")
    with pytest.raises(ValueError, match="Not a whole .npz"):
        load_mnist({"mnist.npz": path})


def test_a_missing_key_is_refused(tmp_path):
    arrays = made()
    del arrays["y_test"]
    np.savez(tmp_path / "mnist.npz", **arrays)
    with pytest.raises(ValueError, match="y_test not found"):
        load_mnist({"mnist.npz": tmp_path / "mnist.npz"})


def test_other_sizes_than_published_are_told(folder, monkeypatch):
    sizes = {"train": 6, "test": 3}
    dataset = dataclasses.replace(REGISTRY["mnist"], sizes=sizes)
    monkeypatch.setitem(REGISTRY, "mnist", dataset)
    with pytest.warns(UserWarning, match="5 of 6 train .*, 3 of 3 test"):
        check(load("mnist"))


@pytest.mark.parametrize("size", [0, 1, 3, 4, 7, 15, 16, 20])
def test_a_short_idx_file_is_refused(tmp_path, size):
    content = gzip.decompress(idx(made()["x_test"]))[:size]
    (tmp_path / "a.gz").write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match="Not a whole idx.*path=.*a.gz"):
        read_idx(tmp_path / "a.gz")


def test_an_idx_file_that_goes_on_is_refused(tmp_path):
    content = gzip.decompress(idx(made()["x_test"])) + b"more"
    (tmp_path / "a.gz").write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match=r"\[3, 28, 28\], 2356 bytes follow"):
        read_idx(tmp_path / "a.gz")


def test_an_idx_file_of_another_type_is_refused(tmp_path):
    content = bytearray(gzip.decompress(idx(made()["y_test"])))
    content[2] = 9  # signed bytes
    (tmp_path / "a.gz").write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match="of unsigned bytes"):
        read_idx(tmp_path / "a.gz")


@pytest.mark.parametrize("size", [0, 5, 30, -1])
def test_a_truncated_gzip_file_is_refused(tmp_path, size):
    (tmp_path / "a.gz").write_bytes(idx(made()["x_test"])[:size])
    with pytest.raises(ValueError, match="Not a whole (gzip|idx) file"):
        read_idx(tmp_path / "a.gz")


def test_published_images_and_labels_are_not_mixed_up():
    (file,) = MNIST.downloads
    assert file.url.endswith("tf-keras-datasets/mnist.npz")
    assert tuple(file.name for file in FASHION_MNIST.downloads) == IDX


@pytest.mark.data
@pytest.mark.parametrize(
    "name, pixels, labels",  # sums over the train images and labels
    [("mnist", 1567298545, 267236), ("fashion_mnist", 3431114169, 270000)],
)
def test_the_real_set(name, pixels, labels):
    path = pathlib.Path(os.environ["SU_MODELS_DATA"], name, f"{name}.npz")
    if not path.exists():
        pytest.skip(f"{path} is not there")
    splits = load(name)
    x, y = splits["train"]["x"], splits["train"]["y"]
    assert x.shape == (60000, 28, 28, 1)
    assert splits["test"]["x"].shape == (10000, 28, 28, 1)
    assert (x.sum(dtype="int64"), y.sum()) == (pixels, labels)
    assert set(splits["test"]["y"]) == set(range(10))
