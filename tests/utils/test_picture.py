import numpy as np
import pytest
from keras import ops

from su_models.utils.picture import image_grid


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
