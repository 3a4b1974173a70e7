import numpy as np
import pytest

from su_models.text import pad_sequences

ROWS = [[1, 2, 3], [4], [5, 6]]


def literal(rows, length, value, mode):
    padded = []
    for row in rows:
        row = list(row)[:length]
        fill = [value] * (length - len(row))
        padded.append(row + fill if mode == "post" else fill + row)
    return padded


@pytest.mark.parametrize("mode", ["post", "pre"])
@pytest.mark.parametrize("length", [None, 0, 1, 2, 3, 5, np.int64(4), [2]])
def test_rows_are_cut_and_padded(length, mode):
    padded = pad_sequences(ROWS, length, value=-7, mode=mode)
    columns = 3 if length is None else int(np.ravel(length)[0])
    assert padded.tolist() == literal(ROWS, columns, -7, mode)
    assert padded.shape == (3, columns)


def test_the_defaults_are_zeros_at_the_end_up_to_the_longest():
    padded = pad_sequences(ROWS)
    assert padded.tolist() == [[1, 2, 3], [4, 0, 0], [5, 6, 0]]
    assert padded.dtype == "int64"


@pytest.mark.parametrize("mode", ["post", "pre"])
def test_several_axes(mode):
    rows = [np.arange(6).reshape(2, 3), np.arange(4).reshape(4, 1)]
    padded = pad_sequences(rows, seq_dims=2, value=9, mode=mode)
    assert padded.shape == (2, 4, 3)
    for whole, row in zip(padded, rows, strict=True):
        n, m = row.shape
        inside = whole[:n, :m] if mode == "post" else whole[4 - n :, 3 - m :]
        np.testing.assert_array_equal(inside, row)
        assert (whole == 9).sum() == 12 - n * m + (row == 9).sum()
    cut = pad_sequences(rows, length=(3, 2), seq_dims=2, mode=mode)
    assert cut.shape == (2, 3, 2)


def test_other_axes_stay():
    rows = [np.ones((2, 5), "float32"), np.ones((3, 5), "float32")]
    padded = pad_sequences(rows)
    assert padded.shape == (2, 3, 5) and padded.dtype == "float32"
    assert padded[0, 2:].sum() == 0


def test_an_empty_row_leaves_the_dtype():
    padded = pad_sequences([[], [1, 2]])
    assert padded.tolist() == [[0, 0], [1, 2]] and padded.dtype == "int64"
    assert pad_sequences([[], [[1, 2]]]).tolist() == [[[0, 0]], [[1, 2]]]


def test_dtypes_are_those_that_hold_all():
    assert pad_sequences([[1], [0.5, 2]]).dtype == "float64"
    assert pad_sequences([[True], [False, True]]).tolist()[0] == [True, False]
    rows = [np.ones(1, "int32"), np.ones(2, "int32")]
    assert pad_sequences(rows).dtype == "int32"


def test_floats_take_any_number():
    assert np.isnan(pad_sequences([[1.0], [1.0, 2.0]], value=np.nan)[0, 1])
    rows = [np.ones(1, "float32"), np.ones(2, "float32")]
    assert pad_sequences(rows, value=0.1)[0, 1] == np.float32(0.1)


def test_no_rows():
    assert pad_sequences([]).shape == (0, 0)
    assert pad_sequences([], 5).shape == (0, 5)
    assert pad_sequences([[], []], 5).tolist() == [[0] * 5] * 2


@pytest.mark.parametrize(
    ("arguments", "received"),
    [
        ({"mode": "left"}, "mode='left'"),
        ({"length": -1}, "length=-1"),
        ({"length": 2.0}, "length=2.0"),
        ({"length": [1, 2]}, r"length=\[1, 2\], seq_dims=1"),
        ({"seq_dims": 0}, "seq_dims=0"),
        ({"seq_dims": 2}, r"seq_dims=2, inputs\[0\]=\[1, 2, 3\]"),
        ({"value": 0.5}, "value=0.5"),
        ({"value": np.nan}, "value=nan"),
        ({"value": "[PAD]"}, r"value='\[PAD\]'"),
        ({"value": [0]}, r"value=\[0\]"),
        ({"inputs": [["a"]]}, r"seq_dims=1, inputs\[0\]=\['a'\]"),
        ({"inputs": [[1], [[1], [1, 2]]]}, r"inputs\[1\]=\[\[1\], \[1, 2\]\]"),
        ({"inputs": [[1], [[1, 2]]]}, r"shapes \(1,\) and \(1, 2\)"),
        ({"inputs": [[[1]], [[1, 2]]]}, r"shapes \(1, 1\) and \(1, 2\)"),
    ],
)
def test_what_cannot_be_padded_is_refused(arguments, received):
    with pytest.raises(ValueError, match=f"Received: {received}$"):
        pad_sequences(**{"inputs": ROWS, **arguments})
