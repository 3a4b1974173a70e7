"""What the losses of one class a sample share."""

import numpy as np
import pytest
from scipy import special

from su_models.losses.class_probability import (
    class_log_probabilities,
    take_class,
)
from tests.contract import integers, normal, to_numpy

X = normal(2, 3, 5)


def test_log_probabilities_of_logits_and_of_probabilities():
    expected = special.log_softmax(X, axis=-1)
    for x, from_logits in ((X, True), (2 * special.softmax(X, -1), False)):
        ours = to_numpy(class_log_probabilities(x, from_logits))
        np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_a_probability_of_0_has_a_logarithm():
    ours = to_numpy(class_log_probabilities(np.array([[1.0, 0.0]]), False))
    np.testing.assert_allclose(ours, [[0, np.log(1e-7)]], atol=1e-5)


@pytest.mark.parametrize("dtype", ["int64", "float32", "uint8"])
def test_the_entry_of_each_label_is_taken(dtype):
    labels = integers(5, 2, 3).astype(dtype)
    expected = np.take_along_axis(X, labels[..., None].astype(int), -1)[..., 0]
    for y in (labels, labels[..., None]):
        ours = take_class(np.float32(X), np.asarray(y))
        np.testing.assert_array_equal(to_numpy(ours), expected)


def test_other_shapes_are_refused():
    for shape in ((2,), (2, 4), (2, 3, 5), ()):
        with pytest.raises(ValueError, match="Received: y_true="):
            take_class(X, np.zeros(shape))
