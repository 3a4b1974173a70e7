"""Article: https://kexue.fm/archives/7234

The acceptance checks are those of the penalty: its gradient by finite
differences, slices and tables, and its place in the expansion of FGM.
"""

import keras
import numpy as np
import pytest
from keras import layers

from su_models.optimizers import SummedGradients
from su_models.training import GradientPenalty
from su_models.training.base import _Start, _Step
from tests.contract.base import JIT, integers, normal, to_numpy
from tests.training.text_classifier import (
    assert_weights,
    classifier,
    crossentropy,
    data,
    fit,
    reference,
    start,
)

EPSILON = 0.8


def penalized(weights, perturb):
    """Eq. (8) read literally."""
    x, y = data()
    loss, (by_table, *_), slices = reference(weights, x, y)
    g = by_table if perturb == "weights" else slices
    return loss + 0.5 * EPSILON * np.square(g).sum()


def differences(fn, weights, step=1e-5):
    """The gradient of `fn(weights)` by central differences."""
    weights = [np.asarray(w, "float64") for w in weights]
    gradients = [np.zeros_like(w) for w in weights]
    for w, g in zip(weights, gradients, strict=True):
        for i in np.ndindex(*w.shape):
            old = w[i]
            w[i] = old + step
            above = fn(weights)
            w[i] = old - step
            g[i] = (above - fn(weights)) / (2 * step)
            w[i] = old
    return gradients


@pytest.mark.parametrize("jit", sorted({False, JIT}))
@pytest.mark.parametrize("perturb", ["outputs", "weights"])
def test_the_gradient_is_that_of_finite_differences(perturb, jit):
    model = classifier()
    wrapper = GradientPenalty(model, "tokens", EPSILON, perturb)
    history = fit(wrapper, rate=0.5, jit=jit)
    gradients = differences(lambda w: penalized(w, perturb), start())
    expected = [v - 0.5 * g for v, g in zip(start(), gradients, strict=True)]
    assert_weights(model, expected, atol=5e-6)
    loss = penalized(start(), perturb)
    assert history["loss"] == [pytest.approx(loss, abs=1e-5)]


def test_the_gradient_by_inputs_is_penalized():
    """Of (x·w - y)²: 2 (x·w - y) w / n for each sample."""
    x, y, w = normal(5, 3), normal(5, 1)[::-1].copy(), normal(3, 1)
    dense = layers.Dense(1, use_bias=False)
    model = keras.Sequential([keras.Input((3,)), dense])
    dense.kernel.assign(w)

    def penalized(weights):
        (w,) = weights
        slopes = 2 * (x @ w - y) * w[:, 0] / 5
        plain = np.square(x @ w - y).mean()
        return plain + 0.5 * EPSILON * np.square(slopes).sum()

    wrapper = GradientPenalty(model, epsilon=EPSILON, perturb="inputs")
    wrapper.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=JIT)
    loss = wrapper.fit(x, y, verbose=0).history["loss"]
    assert loss == [pytest.approx(penalized([w]), rel=1e-5)]
    (g,) = differences(penalized, [w])
    np.testing.assert_allclose(to_numpy(dense.kernel), w - 0.1 * g, atol=1e-5)


def test_convolutions_of_images_have_second_gradients():
    image = keras.Input((6, 6, 2))
    h = layers.Conv2D(4, 3, activation="tanh")(image)
    h = layers.BatchNormalization()(h)
    h = layers.MaxPooling2D(2)(h)
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(h)))
    wrapper = GradientPenalty(model, perturb="inputs", inputs=image.name)
    wrapper.compile(
        "adam",
        crossentropy(),
        jit_compile=keras.config.backend() == "jax",
        run_eagerly=keras.config.backend() == "tensorflow",
    )
    before = [w.copy() for w in model.get_weights()]
    history = wrapper.fit(normal(5, 6, 6, 2), integers(3, 5), verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    for w, b in zip(model.get_weights(), before, strict=True):
        assert np.isfinite(w).all() and (w != b).any()


def test_repeated_tokens_tell_slices_from_tables():
    values = [penalized(start(), kind) for kind in ("weights", "outputs")]
    assert abs(values[0] - values[1]) > 1e-3


@pytest.mark.parametrize("perturb", ["outputs", "weights"])
def test_it_is_the_first_order_of_training_at_eps_times_the_gradient(perturb):
    """L(x + ε∇L) = L + ε|∇L|² + O(ε²), Eq. (5): twice the penalty."""
    wrapper = GradientPenalty(classifier(), perturb=perturb)
    wrapper.compile(loss=crossentropy())
    x, y = data()
    step = _Step(wrapper, x, y, None, _Start(wrapper.model))
    p = wrapper._perturbation

    def loss(*deltas):
        return p.loss(step, deltas)

    plain, gradients = step.value_and_gradient(loss, p.zeros(step, x))
    square = sum(np.square(to_numpy(g)).sum() for g in gradients)
    rests = []
    for epsilon in (2.0, 1.0, 0.5):
        moved = to_numpy(loss(*(epsilon * g for g in gradients)))
        rests.append(moved - to_numpy(plain) - epsilon * square)
    # halved ε, a quarter of the rest
    for rest, half in zip(rests, rests[1:], strict=False):
        assert rest / half == pytest.approx(4.0, rel=0.25)
    assert abs(rests[-1]) < 0.1 * 0.5 * square


def test_epsilon_0_is_plain_training():
    plain, model = classifier(3, 0.4), classifier(3, 0.4)
    sgd = SummedGradients(keras.optimizers.SGD(0.5))
    for net, optimizer in (
        (GradientPenalty(model, epsilon=0.0), None),
        (plain, sgd),
    ):
        keras.utils.set_random_seed(2)
        fit(net, 3, optimizer=optimizer)
    for v, w in zip(model.variables, plain.variables, strict=True):
        np.testing.assert_array_equal(to_numpy(v), to_numpy(w))


def test_it_flattens_the_loss():
    def slope(model):
        slices = reference(model.get_weights(), *data())[2]
        return np.square(slices).sum()

    plain, model = classifier(), classifier()
    fit(plain, 30)
    fit(GradientPenalty(model, epsilon=30.0), 30)
    assert slope(model) < 0.5 * slope(plain)


def test_attention_and_convolution_have_second_gradients():
    keras.utils.set_random_seed(1)
    ids = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(ids)
    x = layers.LayerNormalization()(
        x + layers.MultiHeadAttention(2, 3, dropout=0.1)(x, x)
    )
    x = layers.Conv1D(4, 3, activation="gelu")(x)
    model = keras.Model(ids, layers.Dense(3)(layers.GlobalMaxPooling1D()(x)))
    wrapper = GradientPenalty(model)
    wrapper.compile(
        "adam",
        crossentropy(),
        # TensorFlow's XLA takes its time over this one
        jit_compile=keras.config.backend() == "jax",
        run_eagerly=keras.config.backend() == "tensorflow",
    )
    before = [w.copy() for w in model.get_weights()]
    history = wrapper.fit(integers(9, 5, 6), integers(3, 5), verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    for w, b in zip(model.get_weights(), before, strict=True):
        assert np.isfinite(w).all() and (w != b).any()


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.tokens = layers.Embedding(9, 4)

    def call(self, inputs):
        return self.tokens(inputs)


def test_bad_arguments_are_rejected():
    model = Subclassed()
    model(integers(9, 2, 6))
    GradientPenalty(model, perturb="weights")
    with pytest.raises(ValueError, match="take the tables.*Received: model="):
        GradientPenalty(model)
    with pytest.raises(ValueError, match="Received: epsilon=-1"):
        GradientPenalty(classifier(), epsilon=-1)
    with pytest.raises(ValueError, match="which are: tokens. Received"):
        GradientPenalty(classifier(), "words")
    with pytest.raises(ValueError, match="Received: perturb=True"):
        GradientPenalty(classifier(), perturb=True)
    with pytest.raises(ValueError, match="`inputs` is for .*Received: inputs"):
        GradientPenalty(classifier(), inputs="ids")
