"""`gradient` and `variable_gradient` against closed forms, to second order."""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import (
    compiled,
    gradient,
    value_and_gradient,
    value_and_variable_gradient,
    variable_gradient,
)
from su_models.layers import MultiHeadAttention

BACKEND = keras.backend.backend()
JITS = [False] if BACKEND == "torch" else [False, True]


def normal(*shape, seed=0):
    x = np.random.default_rng(seed).normal(size=shape)
    return x.astype("float32")


def tensor(*shape, seed=0):
    return ops.convert_to_tensor(normal(*shape, seed=seed))


def close(got, want, atol=1e-5):
    np.testing.assert_allclose(
        ops.convert_to_numpy(got), want, rtol=1e-5, atol=atol
    )


def run(jit, fn):
    """Calls `fn()` outside and inside a compiled program."""
    return compiled(fn)() if jit else fn()


each_way = pytest.mark.parametrize("jit", [False, True])


@each_way
def test_gradient_of_a_closed_form(jit):
    x, y = normal(2, 3), normal(3, seed=1)

    def fn(x, y):
        return ops.sum(ops.sin(x) * y)

    gx, gy = run(jit, lambda: gradient(fn, x, y))
    close(gx, np.cos(x) * y)
    close(gy, np.sin(x).sum(axis=0))
    assert gx.shape == (2, 3)
    close(run(jit, lambda: gradient(ops.sum, x)), np.ones((2, 3)))


def test_gradient_is_the_limit_of_differences():
    x, d, h = tensor(5), tensor(5, seed=1), 1e-2

    def fn(x):
        return ops.logsumexp(x) + ops.prod(ops.tanh(x))

    difference = (fn(x + h * d) - fn(x - h * d)) / (2 * h)
    close(ops.sum(gradient(fn, x) * d), ops.convert_to_numpy(difference), 1e-3)


def test_value_comes_in_the_same_pass():
    runs = []

    def fn(x):
        runs.append(x)
        return ops.sum(x**2)

    value, g = value_and_gradient(fn, normal(3))
    close(value, (normal(3) ** 2).sum())
    close(g, 2 * normal(3))
    assert len(runs) == 1


@each_way
def test_hessian_vector_product(jit):
    """f = Σx⁴/12 + (Σx)²/2: H = diag(x²) + 1."""
    x, v = normal(4), normal(4, seed=1)

    def fn(x):
        return ops.sum(x**4) / 12 + ops.sum(x) ** 2 / 2

    def product():
        return gradient(
            lambda x: ops.sum(gradient(fn, x) * tensor(4, seed=1)), x
        )

    close(run(jit, product), x**2 * v + v.sum())


@each_way
def test_third_order(jit):
    def slope(fn):
        return lambda x: gradient(fn, x)

    third = slope(slope(slope(lambda x: x**5)))
    close(run(jit, lambda: third(2.0)), 60 * 2.0**2)


def test_what_does_not_go_through_the_argument_is_constant():
    x = ops.convert_to_tensor(normal(3))

    def outer(x):
        # the inner x is the argument, the outer one a constant
        return ops.sum(gradient(lambda z: ops.sum(z * x), x) * tensor(3))

    close(gradient(outer, x), normal(3))
    close(gradient(lambda z: ops.sum(x * 2.0), x), np.zeros(3))
    gx, gy = gradient(lambda x, y: ops.sum(x), x, x)
    close(gx, np.ones(3))
    close(gy, np.zeros(3))


@each_way
def test_stopped_gradients_are_zero(jit):
    def fn(x):
        return ops.sum(ops.stop_gradient(x) * x)

    close(run(jit, lambda: gradient(fn, normal(3))), normal(3))
    close(
        run(
            jit,
            lambda: gradient(
                lambda x: ops.sum(ops.stop_gradient(x)), normal(3)
            ),
        ),
        np.zeros(3),
    )


@each_way
@pytest.mark.parametrize("trainable", [True, False])
def test_variable_gradient_of_a_closed_form(jit, trainable):
    w = keras.Variable(normal(3, 2), trainable=trainable)
    unused = keras.Variable(normal(4))
    x = normal(5, 3, seed=1)

    def fn():
        return ops.sum(ops.matmul(x, w) ** 2) / 2

    value, (g, zero) = run(
        jit, lambda: value_and_variable_gradient(fn, [w, unused])
    )
    close(value, ((x @ normal(3, 2)) ** 2).sum() / 2, 1e-4)
    close(g, x.T @ x @ normal(3, 2), 1e-4)
    close(zero, np.zeros(4))
    close(w, normal(3, 2))


def test_gradient_of_an_embedding_is_dense():
    layer = keras.layers.Embedding(5, 2)
    layer.build(None)
    ids = np.array([[1, 3, 1]])
    (g,) = variable_gradient(
        lambda: ops.sum(layer(ids) * tensor(1, 3, 2)), layer.variables
    )
    expected = np.zeros((5, 2))
    np.add.at(expected, ids[0], normal(1, 3, 2)[0])
    close(g, expected)
    assert "IndexedSlices" not in type(g).__name__  # TensorFlow's


def penalty(x, w):
    """P = ‖∇ₓf‖², f = ‖xW‖²/2: value and gradient with respect to W."""
    g = x @ w @ w.T
    return (g**2).sum(), 2 * (x.T @ g @ w + g.T @ x @ w)


class Penalized(keras.layers.Layer):
    """Adds ‖∇ₓf‖² as a loss, f = ‖xW‖²/2, and returns zeros."""

    def build(self, input_shape):
        self.w = self.add_weight(shape=(input_shape[-1], 2), name="w")

    def call(self, x):
        def fn(x):
            return ops.sum(ops.matmul(x, self.w) ** 2) / 2

        self.add_loss(ops.sum(gradient(fn, x) ** 2))
        return ops.zeros_like(x)


@each_way
def test_gradient_penalty(jit):
    layer = Penalized()
    layer.build((None, 3))
    layer.w.assign(normal(3, 2))
    x = normal(4, 3, seed=1)

    def fn():
        layer(x)
        return sum(layer.losses)

    value, (g,) = run(
        jit, lambda: value_and_variable_gradient(fn, layer.variables)
    )
    close(value, penalty(x, normal(3, 2))[0], 1e-3)
    close(g, penalty(x, normal(3, 2))[1], 1e-3)
    assert layer.losses == []


@pytest.mark.parametrize("jit", JITS)
def test_gradient_penalty_of_a_layer_trains_in_fit(jit):
    inputs = keras.Input((3,))
    layer = Penalized()
    model = keras.Model(inputs, layer(inputs))
    layer.w.assign(normal(3, 2))
    model.compile(keras.optimizers.SGD(1e-3), jit_compile=jit)
    x, w = normal(4, 3, seed=1), normal(3, 2)
    for _ in range(2):
        model.fit(x, verbose=0)
        w = w - 1e-3 * penalty(x, w)[1]
        close(layer.w, w)


class Implicit(keras.Model):
    """Minimizes L + λ‖∇L‖², the gradient with respect to the weights."""

    strength = 0.25

    def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
        def loss():
            return ops.mean((self(x, training=training) - y) ** 2) / 2

        value, gradients = value_and_variable_gradient(
            loss, self.trainable_variables
        )
        norm = sum(ops.sum(g**2) for g in gradients)
        return value + self.strength * norm


@pytest.mark.parametrize("jit", JITS)
def test_gradient_of_a_gradient_with_respect_to_weights_trains_in_fit(jit):
    inputs = keras.Input((3,))
    dense = keras.layers.Dense(1, use_bias=False)
    model = Implicit(inputs, dense(inputs))
    model.compile(keras.optimizers.SGD(0.1), jit_compile=jit)
    x, y = normal(4, 3, seed=1), normal(4, 1, seed=2)
    w = ops.convert_to_numpy(dense.kernel)
    for _ in range(2):
        model.fit(x, y, verbose=0)
        g = x.T @ (x @ w - y) / 4
        w = w - 0.1 * (g + 2 * 0.25 * x.T @ x @ g / 4)
        close(dense.kernel, w)


@each_way
def test_states_that_the_function_changes_are_kept_once(jit):
    noise = keras.random.SeedGenerator(3)
    norm = keras.layers.BatchNormalization(momentum=0.0)
    norm.build((None, 3))
    x = normal(8, 3) + 2

    def fn(x):
        x = norm(x, training=True) * keras.random.uniform((8, 3), seed=noise)
        return ops.sum(x)

    def second_order():
        return gradient(lambda x: ops.sum(gradient(fn, x) ** 2), x)

    run(jit, second_order)
    close(norm.moving_mean, x.mean(axis=0), 1e-4)
    np.testing.assert_array_equal(ops.convert_to_numpy(noise.state), [3, 1])


def test_what_the_function_assigns_depends_on_its_arguments():
    last = keras.Variable(0.0, trainable=False)

    def cube(x):
        last.assign(x**2)
        return x**3

    def outer(x):  # 3x² + x²
        return gradient(cube, x) + ops.convert_to_tensor(last)

    close(gradient(outer, 5.0), 8 * 5.0)
    close(last, 25.0)


def test_variables_that_the_function_assigns_keep_the_new_value():
    w, count = keras.Variable(normal(3)), keras.Variable(0.0)

    def fn():
        count.assign_add(1.0)
        w.assign(ops.convert_to_tensor(w) * 2.0)
        return ops.sum(w * w)

    (g,) = variable_gradient(fn, [w])
    close(g, 8 * normal(3))
    close(w, 2 * normal(3))
    close(count, 1.0)


@pytest.mark.skipif(BACKEND != "torch", reason="torch records by a global mode")
def test_torch_records_where_gradients_are_recorded():
    import torch

    w = keras.Variable(normal(3))

    def once():
        return gradient(lambda x: ops.sum(x**2 * w), normal(3))

    assert once().requires_grad
    with torch.no_grad():
        value, g = value_and_gradient(lambda x: ops.sum(x**2 * w), normal(3))
    assert not value.requires_grad and not g.requires_grad
    close(g, 2 * normal(3) * normal(3))


def test_what_has_no_gradient_is_refused():
    with pytest.raises(ValueError, match=r"Received: tensors=\(\)"):
        gradient(lambda: 1.0)
    with pytest.raises(ValueError, match="Received: a tensor of int32"):
        gradient(ops.sum, np.arange(3, dtype="int32"))
    with pytest.raises(ValueError, match=r"scalar. Received: shape=\(3,\)"):
        gradient(ops.sin, normal(3))
    with pytest.raises(ValueError, match="Keras variables. Received: 1.0"):
        variable_gradient(lambda: 1.0, [1.0])


@pytest.mark.parametrize("kind", ["ours", "of Keras", "grouped, of Keras"])
def test_second_order_through_attention(kind):
    """PyTorch's fused kernels have no second derivatives."""
    layer = {
        "ours": lambda: MultiHeadAttention(2, 4),
        "of Keras": lambda: keras.layers.MultiHeadAttention(2, 4),
        "grouped, of Keras": lambda: keras.layers.GroupQueryAttention(4, 2, 1),
    }[kind]()
    x = tensor(2, 7, 8)
    several = [x] if kind == "ours" else [x, x]
    layer(*several)

    def penalty(x):
        given = [x] if kind == "ours" else [x, x]
        return ops.sum(ops.square(gradient(lambda z: inner(z, given), x)))

    def inner(z, given):
        return ops.sum(ops.square(layer(*[z for _ in given])))

    step, move = 1e-2, tensor(2, 7, 8, seed=1)
    found = ops.sum(gradient(penalty, x) * move)
    ends = [penalty(x + sign * step * move) for sign in (1, -1)]
    close(found / (ends[0] - ends[1]) * 2 * step, 1.0, atol=1e-2)
