import dataclasses
import pathlib

import pytest

from su_models.data.dataset import Dataset, File
from su_models.data.registry import REGISTRY


@pytest.mark.parametrize("cls", [Dataset, File])
def test_what_is_known_cannot_be_changed(cls):
    assert cls.__dataclass_params__.frozen


def test_a_file_is_local_unless_an_address_is_given():
    assert File("a.txt", "0" * 64).url == ""


@pytest.mark.parametrize("dataset", REGISTRY.values(), ids=list(REGISTRY))
def test_every_field_is_filled_in(dataset):
    for field in dataclasses.fields(dataset):
        if field.name not in ("files", "downloads", "white", "folder"):
            assert getattr(dataset, field.name), field.name
    splits = (*dataset.sizes,)
    assert splits in [
        ("train", "test"),
        ("train", "valid", "test"),
        ("all",),
        # sets whose training file is not part of them
        ("valid", "test"),
        ("valid", "trial"),
        ("valid",),
    ]


def test_only_sets_of_images_have_a_brightest_value():
    white = {name: dataset.white for name, dataset in REGISTRY.items()}
    images = {"digits": 16, "mnist": 255, "fashion_mnist": 255, "cifar10": 255}
    assert {k: v for k, v in white.items() if v is not None} == images


@pytest.mark.parametrize("dataset", REGISTRY.values(), ids=list(REGISTRY))
def test_every_file_has_a_whole_checksum(dataset):
    for file in dataset.files + dataset.downloads:
        assert len(file.sha256) == 64
        assert set(file.sha256) <= set("0123456789abcdef")


@pytest.mark.parametrize("dataset", REGISTRY.values(), ids=list(REGISTRY))
def test_downloads_have_an_encrypted_address(dataset):
    for file in dataset.downloads:
        assert file.url.startswith("https://")
        suffixes = [pathlib.PurePath(x).suffix for x in (file.name, file.url)]
        assert suffixes[0] == suffixes[1] != ""
