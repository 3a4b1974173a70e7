import numpy as np
import pytest

from su_models.data.images import image_split

X = np.arange(2 * 4 * 3, dtype="uint8").reshape(2, 4, 3)
Y = np.array([7, 5], "uint8")


def test_grey_images_get_an_axis_of_channels():
    split = image_split(X, Y, (4, 3, 1), "a.npz")
    assert (split["x"].dtype, split["y"].dtype) == ("uint8", "int64")
    np.testing.assert_array_equal(split["x"][..., 0], X)
    np.testing.assert_array_equal(split["y"], [7, 5])


def test_colour_images_keep_their_channels():
    x = np.arange(2 * 4 * 3 * 3, dtype="uint8").reshape(2, 4, 3, 3)
    turned = np.ascontiguousarray(x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    split = image_split(turned, Y, (4, 3, 3), "a.npz")
    np.testing.assert_array_equal(split["x"], x)
    assert split["x"].flags.c_contiguous


@pytest.mark.parametrize(
    "x, y",
    [
        (X.astype("float32"), Y),
        (X.transpose(0, 2, 1), Y),
        (X[0], Y),
        (X, Y[:1]),
        (X, Y[:, None]),
        (X, Y.astype("float32")),
        (X[:0], Y[:0]),
        (np.uint8(3), Y),
        (X, np.uint8(3)),
    ],
)
def test_other_arrays_are_refused(x, y):
    with pytest.raises(ValueError, match="`a.npz` must .* Received: x="):
        image_split(x, y, (4, 3, 1), "a.npz")
