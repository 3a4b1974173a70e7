import re

import numpy as np
import pytest

from su_models import data
from su_models.data.registry import REGISTRY


def test_names():
    assert data.names() == [
        "digits",
        "mnist",
        "fashion_mnist",
        "cifar10",
        "ptb",
        "treebank_sample",
        "tinyshakespeare",
        "bert4keras_sentiment",
        "chinese_poetry",
        "thucnews10",
        "cmrc2018",
        "drcd",
        "c3",
    ]


def test_names_cannot_be_changed_from_outside():
    data.names().clear()
    assert data.names()


def test_a_set_is_found_under_its_own_name():
    assert all(dataset.name == name for name, dataset in REGISTRY.items())


def test_load_gives_the_digits():
    digits = data.load("digits")
    assert list(digits) == ["train", "test"]
    assert digits["train"]["x"].shape == (1200, 8, 8, 1)


def test_loading_twice_gives_equal_but_separate_arrays():
    first, second = data.load("digits"), data.load("digits")
    for split in first:
        for key in first[split]:
            np.testing.assert_array_equal(first[split][key], second[split][key])
    first["train"]["x"][:] = 0
    assert second["train"]["x"].any()


@pytest.mark.parametrize(
    "name, guess",
    [
        ("digit", "Did you mean `digits`. "),
        ("MNIST", "Did you mean `mnist`. "),
        ("fashion-mnist", "Did you mean `fashion_mnist`. "),
        ("cifar100", "Did you mean `cifar10`. "),
        ("", ""),
        (3, "Did you mean `c3`. "),
        (8, ""),
        (["mnist"], "Did you mean `mnist`. "),
    ],
)
@pytest.mark.parametrize("function", [data.load, data.describe])
def test_an_unknown_name_is_refused(function, name, guess):
    message = (
        f"`name` must be one of {', '.join(data.names())}. "
        f"{guess}Received: name={re.escape(str(name))}$"
    )
    with pytest.raises(ValueError, match=message):
        function(name)


@pytest.mark.parametrize("name", data.names())
def test_describe_says_what_load_checks(name):
    text, dataset = data.describe(name), REGISTRY[name]
    folder = dataset.folder or name
    for file in dataset.files:
        line = f"$SU_MODELS_DATA/{folder}/{file.name} (sha256 {file.sha256})"
        assert line in text
    for file in dataset.downloads:
        assert f"{file.url} (sha256 {file.sha256})" in text
    for value in (dataset.source, dataset.licence, dataset.description):
        assert value in text
    for split, n in dataset.sizes.items():
        assert f"{n} {split}" in text
    assert "None" not in text
