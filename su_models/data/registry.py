"""Registry of the data sets by name."""

import difflib
import warnings

from su_models.data.bert4keras_sentiment import BERT4KERAS_SENTIMENT
from su_models.data.c3 import C3
from su_models.data.chinese_poetry import CHINESE_POETRY
from su_models.data.chinese_reading import CMRC2018, DRCD
from su_models.data.cifar10 import CIFAR10
from su_models.data.digits import DIGITS
from su_models.data.files import VARIABLE, locate
from su_models.data.mnist import FASHION_MNIST, MNIST
from su_models.data.ptb import PTB
from su_models.data.thucnews10 import THUCNEWS10
from su_models.data.tinyshakespeare import TINYSHAKESPEARE
from su_models.data.treebank_sample import TREEBANK_SAMPLE

REGISTRY = {
    dataset.name: dataset
    for dataset in (
        DIGITS,
        MNIST,
        FASHION_MNIST,
        CIFAR10,
        PTB,
        TREEBANK_SAMPLE,
        TINYSHAKESPEARE,
        BERT4KERAS_SENTIMENT,
        CHINESE_POETRY,
        THUCNEWS10,
        CMRC2018,
        DRCD,
        C3,
    )
}


def names():
    """Returns the names that `load` knows, in a list.

    Example:

    >>> from su_models.data import names
    >>> names()[:4]
    ['digits', 'mnist', 'fashion_mnist', 'cifar10']
    """
    return list(REGISTRY)


def load(name):
    """Returns a real data set by name, its files verified by checksum.

    The files are searched in the folder `$SU_MODELS_DATA/<name>`, then in
    Keras' cache, then at the public source; `describe(name)` lists them.
    `digits` needs no files. An incomplete data set is loaded with a
    `UserWarning` that reports the counts; a split without examples is missing
    in the dict.

    Args:
        name: one of `names()`.

    Returns:
        A dict of splits, usually `"train"` and `"test"`, each a dict of NumPy
        arrays or lists. For images `x` is uint8 `(n, height, width,
        channels)` and `y` int64 `(n,)`; `cifar10` adds the bool `lossless`.
        `ptb` has `tokens`, lists of words; `treebank_sample` has `trees`,
        nested lists, in one split `"all"`; `tinyshakespeare` has `text`, a
        string; `bert4keras_sentiment` and `thucnews10` have `text`, a list
        of strings, and `y`; `chinese_poetry` has `text`, `title`, `author`
        and `collection`; `cmrc2018` and `drcd` have `context`, `question` and
        `answers`; `c3` has `context`, `question`, `answer`, `choices` and
        `kind`.

    Raises:
        ValueError: if the name is unknown or a file has another checksum.
        FileNotFoundError: if the data set is neither found nor downloadable.

    Example:

    >>> from su_models.data import load
    >>> digits = load("digits")
    >>> digits["train"]["x"].shape, digits["test"]["y"].shape
    ((1200, 8, 8, 1), (597,))
    """
    dataset = _find(name)
    splits = dataset.loader(locate(dataset))
    sizes = {split: _count(splits.get(split, {})) for split in dataset.sizes}
    if sizes != dict(dataset.sizes):
        counts = ", ".join(
            f"{sizes[split]} of {published} {split} examples"
            for split, published in dataset.sizes.items()
        )
        warnings.warn(
            f"The data set `{name}` is only partly there: {counts}.",
            UserWarning,
            stacklevel=2,
        )
    return splits


def describe(name):
    """Returns the description of a data set, as lines of text.

    Args:
        name: one of `names()`.

    Returns:
        A string: content, sizes, source, licence, files and checksums.

    Raises:
        ValueError: if the name is unknown.

    Example:

    >>> from su_models.data import describe
    >>> print(describe("digits").splitlines()[1])
    sizes: 1200 train, 597 test
    """
    dataset = _find(name)
    sizes = ", ".join(f"{n} {split}" for split, n in dataset.sizes.items())
    lines = [
        f"{dataset.name}: {dataset.description}",
        f"sizes: {sizes}",
        f"source: {dataset.source}",
        f"licence: {dataset.licence}",
    ]
    for file in dataset.files:
        place = f"${VARIABLE}/{dataset.folder or name}/{file.name}"
        lines.append(f"file: {place} (sha256 {file.sha256})")
    for file in dataset.downloads:
        lines.append(f"download: {file.url} (sha256 {file.sha256})")
    return "\n".join(lines)


def _count(split):
    """Returns the number of examples in a split; 0 for an absent one."""
    return len(next(iter(split.values()), ()))


def _find(name):
    """Returns the data set of that name."""
    if not isinstance(name, str) or name not in REGISTRY:
        near = difflib.get_close_matches(str(name).lower(), REGISTRY, 1, 0.5)
        guess = f"Did you mean `{near[0]}`? " if near else ""
        raise ValueError(
            f"`name` must be one of {', '.join(REGISTRY)}. {guess}"
            f"Received: name={name}"
        )
    return REGISTRY[name]
