"""The UCI digits, which scikit-learn contains."""

import numpy as np

from su_models.data.dataset import Dataset
from su_models.data.images import image_split

TRAIN = 1200


def load_digits(paths):
    """Returns the digits in a fixed stratified split.

    Every class contributes the same share, 1200 of 1797, to `train`, rounded
    by largest remainders (the lower digit first if two are equal). The images
    of each class are drawn by `numpy.random.RandomState(0)`, whose numbers do
    not change between versions of NumPy. Each split keeps the order of the
    source.

    Args:
        paths: ignored; the data set is embedded.

    Returns:
        A dict of the splits `train` and `test`.
    """
    from sklearn import datasets  # here, since it takes a second

    source = datasets.load_digits()
    x = source.images.astype("uint8")
    chosen = _stratified(source.target, TRAIN)
    return {
        split: image_split(x[rows], source.target[rows], (8, 8, 1), "digits")
        for split, rows in (("train", chosen), ("test", ~chosen))
    }


def _stratified(y, n):
    """Returns a mask of `n` examples with the class shares of all examples."""
    share = np.bincount(y) * n / len(y)
    counts = np.floor(share).astype("int64")
    by_remainder = np.argsort(counts - share, kind="stable")
    counts[by_remainder[: n - counts.sum()]] += 1
    random = np.random.RandomState(0)
    chosen = np.zeros(len(y), bool)
    for digit, count in enumerate(counts):
        chosen[random.permutation(np.flatnonzero(y == digit))[:count]] = True
    return chosen


DIGITS = Dataset(
    name="digits",
    description="Handwritten digits of 13 people, 8x8 grey levels from 0 to "
    "16, 10 classes; embedded, no download.",
    source="UCI Machine Learning Repository, Optical Recognition of "
    "Handwritten Digits (E. Alpaydin, C. Kaynak, 1998), its test part as "
    "contained in scikit-learn; split into train and test by this library.",
    licence="none in the files; UCI asks to be cited; scikit-learn, which "
    "distributes the set, is BSD-3-Clause",
    sizes={"train": 1200, "test": 597},
    loader=load_digits,
    white=16,
)
