import dataclasses
import hashlib
import io
import os
import pathlib
import tarfile
import warnings

import numpy as np
import pytest

from su_models.data import load
from su_models.data.cifar10 import ARCHIVE, CIFAR10, MEMBERS, load_cifar10
from su_models.data.dataset import File
from su_models.data.registry import REGISTRY

NAMES = [name for names in MEMBERS.values() for name in names]


def made(n=4):
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (n, 32, 32, 3), "uint8")
    return x, random.integers(0, 10, n, "uint8")


def record(image, label):
    """One record by the published description, byte after byte."""
    content = bytes([label])
    for channel in range(3):
        for row in range(32):
            content += bytes(int(v) for v in image[row, :, channel])
    return content


def write_archive(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def members():
    """One image in every member; the last is the test batch."""
    x, y = made(6)
    contents = [record(*pair) for pair in zip(x, y, strict=True)]
    return dict(zip(NAMES, contents, strict=True))


def part(path, lossless):
    x, y = made()
    np.savez(path, x=x, y=y, lossless=lossless)
    return {path.name: path}


def test_the_published_archive(tmp_path):
    write_archive(tmp_path / ARCHIVE, members())
    splits = load_cifar10({ARCHIVE: tmp_path / ARCHIVE})
    x, y = made(6)
    np.testing.assert_array_equal(splits["train"]["x"], x[:5])
    np.testing.assert_array_equal(splits["train"]["y"], y[:5])
    np.testing.assert_array_equal(splits["test"]["x"], x[5:])
    np.testing.assert_array_equal(splits["test"]["y"], y[5:])
    assert splits["train"]["lossless"].tolist() == [True] * 5


@pytest.mark.parametrize("name", ["data_batch_3.bin", "test_batch.bin"])
def test_an_archive_without_a_member_is_refused(tmp_path, name):
    content = members()
    del content[name]
    write_archive(tmp_path / ARCHIVE, content)
    with pytest.raises(ValueError, match=f"Not the whole.*{name}"):
        load_cifar10({ARCHIVE: tmp_path / ARCHIVE})


def test_an_archive_with_a_short_record_is_refused(tmp_path):
    content = members()
    content["test_batch.bin"] = content["test_batch.bin"][:-1]
    write_archive(tmp_path / ARCHIVE, content)
    with pytest.raises(ValueError, match="3073 bytes each"):
        load_cifar10({ARCHIVE: tmp_path / ARCHIVE})


@pytest.mark.parametrize("size", [0, 9, 1000, -2000])
def test_a_truncated_archive_is_refused(tmp_path, size):
    path = tmp_path / ARCHIVE
    write_archive(path, members())
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="Not the whole.*path="):
        load_cifar10({ARCHIVE: path})


def test_converted_files_are_put_together_in_order(tmp_path):
    x, y = made()
    paths = {}
    for i in (2, 1):
        path = tmp_path / f"train_{i}.npz"
        np.savez(path, x=x + i, y=y, lossless=np.ones(4, bool))
        paths[path.name] = path
    train = load_cifar10(paths)["train"]
    np.testing.assert_array_equal(train["x"], np.concatenate([x + 1, x + 2]))
    np.testing.assert_array_equal(train["y"], np.concatenate([y, y]))


def test_the_flag_is_kept_and_told(tmp_path):
    flags = np.array([True, False, True, False])
    paths = part(tmp_path / "train_1.npz", flags)
    with pytest.warns(UserWarning, match="2 of 4 train images .* JPEG"):
        train = load_cifar10(paths)["train"]
    np.testing.assert_array_equal(train["lossless"], flags)


def test_exact_images_need_no_warning(tmp_path):
    paths = part(tmp_path / "train_1.npz", np.ones(4, bool))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_cifar10(paths)["train"]["lossless"].all()


@pytest.mark.parametrize("flags", [np.ones(3, bool), np.ones(4, "uint8")])
def test_other_flags_are_refused(tmp_path, flags):
    with pytest.raises(ValueError, match="one bool in `lossless`"):
        load_cifar10(part(tmp_path / "train_1.npz", flags))


def test_a_part_of_the_set_is_told_with_its_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("SU_MODELS_DATA", str(tmp_path))
    (tmp_path / "cifar10").mkdir()
    path = tmp_path / "cifar10" / "train_1.npz"
    part(path, np.ones(4, bool))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    dataset = dataclasses.replace(CIFAR10, files=(File(path.name, digest),))
    monkeypatch.setitem(REGISTRY, "cifar10", dataset)
    counts = "4 of 50000 train examples, 0 of 10000 test examples"
    with pytest.warns(UserWarning, match=counts) as caught:
        splits = load("cifar10")
    assert list(splits) == ["train"]
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.data
def test_the_real_part_of_the_set():
    folder = pathlib.Path(os.environ["SU_MODELS_DATA"], "cifar10")
    if [path.name for path in folder.glob("*")] != ["train_1.npz"]:
        pytest.skip(f"{folder} does not hold train_1.npz alone")
    with pytest.warns(UserWarning) as caught:
        train = load("cifar10")["train"]
    assert [str(warning.message).split(":")[0] for warning in caught] == [
        "10 of 10000 train images of `cifar10` are JPEG copies, not exact; "
        "`lossless` is False for them.",
        "The data set `cifar10` is only partly there",
    ]
    assert [warning.filename for warning in caught] == [__file__] * 2
    assert train["x"].shape == (10000, 32, 32, 3)
    assert train["x"].sum(dtype="int64") == 3718377870
    assert (~train["lossless"]).sum() == 10
    assert np.bincount(train["y"]).min() > 900
