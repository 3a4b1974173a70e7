"""The four ways to merge, for positions shared by a batch and not."""

import keras
import numpy as np
import pytest

from su_models.layers.position.merge_positions import (
    MERGE_MODES,
    check_merge_mode,
    merge_positions,
)
from tests.contract import normal, to_numpy


@pytest.mark.parametrize("mode", MERGE_MODES)
@pytest.mark.parametrize("shape", [(7, 6), (2, 7, 6)])
def test_modes_are_what_they_say(mode, shape):
    x, p = normal(2, 7, 6), normal(*shape)
    full = np.broadcast_to(p, x.shape)
    want = {
        "add": x + full,
        "mul": x + x * full,
        "concat": np.concatenate([x, full], axis=-1),
        "zero": full,
    }
    got = to_numpy(merge_positions(x, p, mode, "float32"))
    np.testing.assert_allclose(got, want[mode], atol=1e-6)


@pytest.mark.parametrize("mode", MERGE_MODES)
@pytest.mark.parametrize("kind", ["uint8", "int32", "bool"])
def test_embeddings_are_not_rounded_to_the_dtype_of_the_inputs(mode, kind):
    x, p = np.array([[[0], [1], [1]]], kind), normal(3, 1)
    got = merge_positions(x, p, mode, "float32")
    want = merge_positions(x.astype("float32"), p, mode, "float32")
    np.testing.assert_array_equal(to_numpy(got), to_numpy(want))


def test_the_name_comes_back_of_what_h5_makes_of_it():
    for mode in MERGE_MODES:
        assert check_merge_mode(mode, 6, 6) == mode
    assert check_merge_mode(keras.layers.add, 6, 6) == "add"
    with pytest.raises(ValueError, match="Received: merge_mode=<function"):
        check_merge_mode(keras.layers.multiply, 6, 6)


def test_wrong_modes_and_sizes_are_refused():
    with pytest.raises(ValueError, match="Received: merge_mode='sum'"):
        check_merge_mode("sum", 6, 6)
    for mode in ("add", "mul"):
        with pytest.raises(ValueError, match="Received: output_dim=5"):
            check_merge_mode(mode, 6, 5)
    for mode in ("concat", "zero"):
        check_merge_mode(mode, 6, 5)
