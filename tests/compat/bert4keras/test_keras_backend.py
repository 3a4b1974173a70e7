import keras
import numpy as np
import pytest
from keras import ops

import su_models.compat.bert4keras.keras_backend as K
from tests.contract import normal, to_numpy

X = normal(2, 7, 6)


def test_every_listed_function_is_that_of_keras_ops():
    for name in K.SAME:
        assert getattr(K, name) is getattr(ops, name)
    assert {*K.SAME, "one_hot"} <= {*dir(K)}


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(K, "learning_phase")
    with pytest.raises(AttributeError, match="from_bert4keras"):
        K.rnn  # noqa: B018


@pytest.mark.parametrize("name", ["gradients", "function"])
def test_symbolic_functions_name_their_replacement(name):
    with pytest.raises(NotImplementedError, match="su_models|predict_on_batch"):
        getattr(K, name)(X, [X])


def test_defaults_that_keras_ops_has_not():
    np.testing.assert_array_equal(K.argmax(X), X.argmax(-1))
    np.testing.assert_array_equal(K.argmin(X), X.argmin(-1))
    assert K.concatenate([X, X]).shape == (2, 7, 12)
    assert K.expand_dims(X).shape == (2, 7, 6, 1)
    assert K.permute_dimensions(X, (0, 2, 1)).shape == (2, 6, 7)
    assert K.squeeze(K.expand_dims(X), -1).shape == (2, 7, 6)
    np.testing.assert_array_equal(K.gather(X[0], [2.0, 0.0]), X[0][[2, 0]])
    np.testing.assert_array_equal(K.repeat_elements(X, 2, 1), X.repeat(2, 1))
    np.testing.assert_allclose(K.pow(X, 2), X**2, rtol=1e-6)
    assert K.one_hot(np.array([1.0, 0.0]), 3).shape == (2, 3)
    assert (K.ndim(X), K.int_shape(X), K.dtype(X)) == (3, (2, 7, 6), "float32")
    norm = np.sqrt((X**2).sum(-1, keepdims=True))
    np.testing.assert_allclose(K.l2_normalize(X, -1), X / norm, rtol=1e-5)


def test_products_of_shapes_are_integers():
    shape = K.shape(ops.ones((2, 3, 4)))
    assert K.prod(shape[1:]) == 12
    np.testing.assert_allclose(K.prod(X, axis=1), X.prod(1), rtol=1e-5)


def test_reshape_and_flatten_of_some_axes():
    y = K.reshape(X, (3, -1), -1)
    np.testing.assert_array_equal(to_numpy(y), X.reshape(2, 7, 3, 2))
    y = K.reshape(X, (2, 1), 0, (2, 3), 2)
    assert y.shape == (2, 1, 7, 2, 3)
    assert K.reshape(X, (-1,)).shape == (84,)
    assert K.flatten(X).shape == (84,)
    assert K.flatten(X, 1).shape == (2, 42)
    assert K.flatten(X, 0, 2).shape == (14, 6)
    with pytest.raises(ValueError, match="Received: 3 arguments"):
        K.reshape(X, (2,), 0, (3,))


def test_variables():
    v = K.variable([1.0, 2.0])
    K.set_value(v, np.array([3.0, 4.0]))
    assert K.eval(v).tolist() == K.get_value(v).tolist() == [3.0, 4.0]
    K.batch_set_value([(v, np.zeros(2))])
    assert K.batch_get_value([v])[0].tolist() == [0.0, 0.0]
    assert to_numpy(K.update_add(v, 1.0)).tolist() == [1.0, 1.0]
    assert to_numpy(K.constant(2.0, shape=(2,))).tolist() == [2.0, 2.0]
    assert K.floatx() == "float32" and K.epsilon() == 1e-7


def test_crossentropies_take_the_target_first():
    p = np.array([[0.2, 0.8], [0.5, 0.5]], "float32")
    expected = -np.log([0.8, 0.5])
    for target in (np.array([1, 0]), np.array([1.0, 0.0])):
        loss = K.sparse_categorical_crossentropy(target, p)
        np.testing.assert_allclose(loss, expected, rtol=1e-4)
    loss = K.categorical_crossentropy(np.eye(2, dtype="float32")[[1, 0]], p)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    loss = K.binary_crossentropy(np.ones_like(p), p)
    np.testing.assert_allclose(loss, -np.log(p), rtol=1e-4)


def test_random_binomial_is_zero_or_one():
    numbers = K.eval(K.random_binomial((1000,), p=0.3))
    assert {*numbers.tolist()} == {0.0, 1.0}
    assert 200 < numbers.sum() < 400


class Doubled(keras.layers.Layer):
    def call(self, inputs):
        return K.in_train_phase(inputs * 2, lambda: inputs)


def test_in_train_phase_follows_the_surrounding_call():
    inputs = keras.Input((6,))
    model = keras.Model(inputs, Doubled()(inputs))
    x = ops.convert_to_tensor(X[0])
    np.testing.assert_array_equal(to_numpy(model(x)), X[0])
    np.testing.assert_array_equal(to_numpy(model(x, training=True)), 2 * X[0])
    y = K.in_train_phase(x * 2, x, training=True)
    np.testing.assert_array_equal(to_numpy(y), 2 * X[0])
