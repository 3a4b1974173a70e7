"""Metadata and arrays in one file that is verified by a hash."""

import hashlib
import json

import ml_dtypes  # noqa: F401, NumPy learns the name `bfloat16`
import numpy as np

MAGIC = b"su_models, sealed, 1\n"


def seal(facts, arrays):
    """Returns facts and arrays as bytes for `unseal`.

    The bytes are a first line, the SHA-256 of the rest, the length of the
    facts, the facts as JSON, and the concatenated arrays.

    Args:
        facts: JSON-serializable dict.
        arrays: list of NumPy arrays.

    Example:

    >>> import numpy as np
    >>> from su_models.runs.sealed import seal, unseal
    >>> facts, arrays = unseal(seal({"epoch": 3}, [np.ones((1, 2))]))
    >>> facts, arrays[0].tolist()
    ({'epoch': 3}, [[1.0, 1.0]])
    """
    arrays = [np.asarray(array) for array in arrays]
    forms = [[array.dtype.name, array.shape] for array in arrays]
    head = json.dumps({"facts": facts, "arrays": forms}).encode()
    content = b"".join(
        [len(head).to_bytes(8, "big"), head, *(a.tobytes() for a in arrays)]
    )
    return MAGIC + hashlib.sha256(content).digest() + content


def unseal(data):
    """Returns the facts and the arrays of a result of `seal`.

    Raises:
        ValueError: if the bytes are damaged, or not a result of `seal`.
    """
    start = len(MAGIC) + hashlib.sha256().digest_size
    digest, content = data[len(MAGIC) : start], data[start:]
    if data[: len(MAGIC)] != MAGIC:
        raise ValueError("it does not begin as such a file does")
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("its content is not what was written")
    size = int.from_bytes(content[:8], "big")
    head, arrays = json.loads(content[8 : 8 + size]), []
    place = 8 + size
    for name, shape in head["arrays"]:
        dtype, count = np.dtype(name), int(np.prod(shape))
        array = np.frombuffer(content, dtype, count, place)
        arrays.append(array.reshape(shape))
        place += array.nbytes
    return head["facts"], arrays
