"""Perplexity of a codebook: the effective number of codes in use."""

import numpy as np
from keras import ops

from su_models.utils.checks import check_size


def codebook_perplexity(indices, codebook_size):
    """Returns the perplexity of code numbers, from 1 to `codebook_size`.

    The perplexity is exp(-Σ p_k log p_k) of the shares p_k, the number of
    codes that would give the same entropy if used equally often. Pass the
    indices of a whole data set: the perplexity of a batch grows with the
    batch, so batches cannot be averaged.

    Args:
        indices: array of integers in 0, ..., codebook_size - 1 of any shape,
            e.g. the indices that `VectorQuantizer` returns.
        codebook_size: int >= 1.

    Returns:
        A float; NaN if there are no indices.

    Raises:
        ValueError: if an index is not such an integer.

    Example:

    >>> su_models.ops.codebook_perplexity([[0, 1], [0, 1]], codebook_size=8)
    2.0
    """
    codebook_size = check_size("codebook_size", codebook_size)
    indices = np.ravel(ops.convert_to_numpy(indices))
    if not indices.size:
        return float("nan")
    if indices.dtype.kind not in "iu" or not (
        0 <= indices.min() and indices.max() < codebook_size
    ):
        raise ValueError(
            f"`indices` must be integers from 0 to {codebook_size - 1}. "
            f"Received: indices={indices}"
        )
    share = np.bincount(indices) / indices.size
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))
