"""Padding of sequences of different lengths to one array."""

import numpy as np

from su_models.utils.checks import check_choice, check_integer, check_size


def pad_sequences(inputs, length=None, value=0, seq_dims=1, mode="post"):
    """Returns sequences as one array, truncated or padded to one length.

    The function equals `sequence_padding` of bert4keras. Differs: an empty row
    does not turn the others into floats, and a `value` that the array's dtype
    cannot hold is rejected instead of rounded.

    Args:
        inputs: list of sequences, lists or arrays with equally many axes.
        length: int, or one int for each of `seq_dims` axes. Longer sequences
            lose their end. Defaults to the length of the longest sequence.
        value: number to pad with. Defaults to 0.
        seq_dims: int >= 1. The number of leading axes that are padded.
        mode: `"post"` to pad at the end, `"pre"` at the start.

    Returns:
        A NumPy array `(n, length, ...)`.

    Raises:
        ValueError: if an argument is not as described, or the sequences
            differ in their number of axes or in one that is not padded.

    Example:

    >>> su_models.text.pad_sequences([[1, 2, 3], [4]]).tolist()
    [[1, 2, 3], [4, 0, 0]]
    >>> su_models.text.pad_sequences([[1, 2, 3], [4]], 2, -1, mode="pre")
    array([[ 1,  2],
           [-1,  4]])
    """
    check_choice("mode", mode, ("post", "pre"))
    seq_dims = check_size("seq_dims", seq_dims)
    rows = [_array(i, row, seq_dims) for i, row in enumerate(inputs)]
    shape = _padded_shape(length, rows, seq_dims)
    dtype = np.result_type(*({r.dtype for r in rows if r.size} or {"int64"}))
    padded = np.full((len(rows), *shape), _cast(value, dtype), dtype)
    for target, row in zip(padded, rows, strict=True):
        row = row[tuple(slice(n) for n in shape[:seq_dims])]
        if row.size == 0:
            continue
        if row.shape[seq_dims:] != target.shape[seq_dims:]:
            raise ValueError(
                "`inputs` must be alike in the axes that are not padded. "
                "Received: "
                f"shapes {rows[0].shape} and {row.shape}"
            )
        ends = zip(target.shape, row.shape[:seq_dims], strict=False)
        where = (
            slice(n) if mode == "post" else slice(whole - n, None)
            for whole, n in ends
        )
        target[tuple(where)] = row
    return padded


def _array(number, row, seq_dims):
    """Returns a sequence as an array of numbers with enough axes."""
    try:
        array = np.asarray(row)
    except ValueError as error:  # it has rows of different lengths
        raise ValueError(
            "Each of `inputs` must be an array of numbers. "
            f"Received: inputs[{number}]={row!r}"
        ) from error
    if array.dtype.kind not in "biuf" or (array.ndim < seq_dims and array.size):
        raise ValueError(
            "Each of `inputs` must be numbers, with at least `seq_dims` axes. "
            f"Received: seq_dims={seq_dims}, inputs[{number}]={row!r}"
        )
    return array


def _padded_shape(length, rows, seq_dims):
    """Returns the shape of one padded sequence."""
    full = [row.shape for row in rows if row.size] or [(0,) * seq_dims]
    if length is None:
        lengths = tuple(
            map(max, zip(*(s[:seq_dims] for s in full), strict=True))
        )
    else:
        given = length if isinstance(length, (list, tuple)) else [length]
        if len(given) != seq_dims:
            raise ValueError(
                "`length` must be one integer for each of `seq_dims` axes. "
                f"Received: length={length}, seq_dims={seq_dims}"
            )
        lengths = tuple(check_integer("length", n, least=0) for n in given)
    return lengths + full[0][seq_dims:]


def _cast(value, dtype):
    """Returns `value` in a dtype, or raises if the dtype cannot hold it."""
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in "biuf":
        raise ValueError(f"`value` must be a number. Received: value={value!r}")
    with np.errstate(invalid="ignore"):  # NaN
        cast = number.astype(dtype)
    if dtype.kind in "biu" and cast != number:
        raise ValueError(
            f"`value` must be of the dtype of `inputs`, {dtype}. "
            f"Received: value={value!r}"
        )
    return cast
