import hashlib

import numpy as np
from sklearn import datasets

from su_models.data.digits import load_digits

SOURCE = datasets.load_digits()


def source_split():
    return {"x": SOURCE.images.astype(int), "y": SOURCE.target}


def rows(split):
    """Each example as one tuple of 65 numbers."""
    flat = split["x"].reshape(len(split["x"]), -1)
    return [(*x, y) for x, y in zip(flat.tolist(), split["y"], strict=True)]


def test_shapes_and_range():
    digits = load_digits({})
    for name, n in (("train", 1200), ("test", 597)):
        x, y = digits[name]["x"], digits[name]["y"]
        assert (x.shape, x.dtype) == ((n, 8, 8, 1), "uint8")
        assert (y.shape, y.dtype) == ((n,), "int64")
        assert (x.min(), x.max()) == (0, 16)


def test_each_class_gives_its_share():
    digits = load_digits({})
    train, test = (np.bincount(digits[name]["y"]) for name in ("train", "test"))
    # 1200/1797 of each class, rounded by largest remainders
    assert train.tolist() == [119, 122, 118, 122, 121, 122, 121, 119, 116, 120]
    assert (train + test).tolist() == np.bincount(SOURCE.target).tolist()


def test_the_splits_are_disjoint_and_lose_nothing():
    digits = load_digits({})
    parts = rows(digits["train"]) + rows(digits["test"])
    assert sorted(parts) == sorted(rows(source_split()))
    assert len(set(parts)) == 1797  # no scan occurs twice, in any split


def test_each_split_keeps_the_order_of_the_source():
    order = {row: i for i, row in enumerate(rows(source_split()))}
    for split in load_digits({}).values():
        places = [order[row] for row in rows(split)]
        assert places == sorted(places)


def test_the_split_is_the_same_every_time_and_everywhere():
    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    digest = hashlib.sha256()
    for split in load_digits({}).values():
        digest.update(split["x"].tobytes() + split["y"].astype("<i8").tobytes())
    assert digest.hexdigest() == (
        "3e18e2be5d680b342c1119db5ebc930a658fb034f1647fd1b120352a54cf91f3"
    )
    assert (np.random.get_state()[1] == state).all(), "global seed touched"
