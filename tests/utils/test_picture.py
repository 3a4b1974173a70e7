import io

import numpy as np
import pytest
from keras import ops
from matplotlib import image as image_files

from su_models.utils.picture import (
    filled_grid,
    image_grid,
    png,
    side_by_side,
)


def test_each_pixel_stands_where_a_loop_puts_it():
    x = np.random.default_rng(0).uniform(-1.2, 1.2, (6, 2, 3, 2))
    x = x.astype("float32")
    y = ops.convert_to_numpy(image_grid(x, columns=3, pixel=2, gap=1))
    expected = np.full((2 * 6, 3 * 8, 2), 255, "uint8")
    for i in range(6):
        top, left = i // 3 * 6 + 1, i % 3 * 8 + 1
        for row in range(4):
            for column in range(6):
                value = np.clip(x[i, row // 2, column // 2], -1, 1)
                value = np.round((value + 1) * np.float32(127.5))
                expected[top + row, left + column] = value
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(
    "shape, columns", [((5, 8, 8, 1), 2), ((8, 8, 1), 2), ((4, 8, 8, 1), 0)]
)
def test_images_that_do_not_fill_the_rows_are_refused(shape, columns):
    with pytest.raises(ValueError, match=f"Received: .*columns={columns}"):
        image_grid(np.zeros(shape, "float32"), columns)


def test_two_grids_stand_side_by_side():
    left, right = (np.full((4, 2, 3, 1), v, "float32") for v in (-1, 1))
    pixels = ops.convert_to_numpy(side_by_side(left, right, 2))
    grid = ops.convert_to_numpy(image_grid(left, 2))
    height, width = grid.shape[:2]
    assert pixels.shape == (height, 2 * width + 16, 1)
    np.testing.assert_array_equal(pixels[:, :width], grid)
    assert (pixels[:, width:] == 255).all()


@pytest.mark.parametrize("n, rows, columns", [(1, 1, 1), (5, 2, 3), (9, 3, 3)])
def test_any_number_of_images_fills_a_square(n, rows, columns):
    black = np.full((n, 2, 2, 1), -1, "float32")
    pixels = ops.convert_to_numpy(filled_grid(black))
    assert pixels.shape == (rows * 10, columns * 10, 1)
    assert (pixels == 0).sum() == n * 64  # the rest is white


@pytest.mark.parametrize("channels", [1, 3])
def test_png_holds_the_pixels(channels):
    picture = np.random.default_rng(0).integers(256, size=(5, 7, channels))
    picture = picture.astype("uint8")
    found = image_files.imread(io.BytesIO(png(picture)), format="png")
    expected = np.broadcast_to(picture, (5, 7, 3)) / 255
    np.testing.assert_allclose(found[..., :3], expected, atol=1e-6)
