"""What the losses of one class a sample share."""

import numpy as np
from keras import ops
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


def test_the_entry_of_each_label_is_taken():
    labels = integers(5, 2, 3)
    expected = np.take_along_axis(X, labels[..., None], -1)[..., 0]
    ours = take_class(ops.convert_to_tensor(X), ops.convert_to_tensor(labels))
    np.testing.assert_array_equal(to_numpy(ours), expected)
