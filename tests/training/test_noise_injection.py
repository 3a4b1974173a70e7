"""Article: https://kexue.fm/archives/7466"""

import keras
import numpy as np
import pytest
from keras import layers, ops

from su_models.training import NoiseInjection
from tests.contract.base import JIT, integers, normal, to_numpy

N = 50_000  # copies of one sample: their mean is that over the noise
untrained = pytest.mark.filterwarnings(
    "ignore:The model does not have any trainable weights"
)


def tanh_model():
    inputs = keras.Input((3,))
    h = layers.Dense(4, "tanh", name="hidden")(inputs)
    model = keras.Model(inputs, layers.Dense(1, name="out")(h))
    model.layers[1].kernel.assign(normal(3, 4))
    model.layers[2].kernel.assign(normal(4, 1))
    return model


def one_loss(wrapper, x, y, rate=0.0, jit=JIT, **kwargs):
    """The loss of one step on one batch."""
    wrapper.compile(keras.optimizers.SGD(rate), "mse", jit_compile=jit)
    kwargs = {"batch_size": len(y), **kwargs}
    fit = wrapper.fit(x, y, verbose=0, shuffle=False, **kwargs)
    return fit.history["loss"][0]


def loss_at(x, y):
    """(v·tanh(Wx) - y)² in float64."""
    w, v = normal(3, 4).astype("float64"), normal(4, 1).astype("float64")
    return ((np.tanh(x @ w) @ v)[..., 0] - y) ** 2


def test_noise_on_inputs_is_half_the_variance_times_the_laplacian():  # Eq. (6)
    x, y, sigma, h = normal(3), -0.5, 0.1, 1e-3
    plain = loss_at(x, y)
    laplacian = sum(
        loss_at(x + s * h * e, y) - plain for e in np.eye(3) for s in (1, -1)
    )
    expected = sigma**2 / 2 * laplacian / h**2
    got = one_loss(
        NoiseInjection(tanh_model(), sigma, seed=0),
        np.tile(x, (N, 1)),
        np.full((N, 1), y, "float32"),
    )
    assert expected > 0.009
    # the mean of N samples has a deviation of 2e-4, and the next term is 3e-4
    np.testing.assert_allclose(got - plain, expected, atol=1.3e-3)


def test_on_a_line_it_is_exactly_the_penalty_of_the_gradient():
    # l = (x·w - y)², Δl = 2‖w‖²: the loss has σ²‖w‖² more, its slope 2σ²w
    sigma, rate, w = 0.5, 0.1, np.array([[1.0], [-2.0], [0.5]], "float32")
    dense = layers.Dense(1, use_bias=False)
    model = keras.Sequential([keras.Input((3,)), dense])
    dense.kernel.assign(w)
    x = np.ones((N, 3), "float32")
    y = np.full((N, 1), -0.5, "float32")  # which the plain model predicts
    loss = one_loss(NoiseInjection(model, sigma, seed=1), x, y, rate)
    np.testing.assert_allclose(loss, sigma**2 * (w**2).sum(), rtol=0.04)
    moved = w - rate * 2 * sigma**2 * w
    np.testing.assert_allclose(to_numpy(dense.kernel), moved, atol=0.01)


def test_each_occurrence_of_a_token_has_noise_of_its_own():
    sigma = 0.3
    ids = keras.Input((2,), dtype="int32")
    looked_up = layers.Embedding(3, 1, name="tokens")(ids)
    model = keras.Model(ids, looked_up[:, 0] - looked_up[:, 1])
    x, y = np.ones((N, 2), "int32"), np.zeros((N, 1), "float32")
    wrapper = NoiseInjection(
        model, sigma, "outputs", embedding="tokens", seed=0
    )
    np.testing.assert_allclose(one_loss(wrapper, x, y), 2 * sigma**2, rtol=0.04)
    # the noise of a table is the same for both
    wrapper = NoiseInjection(model, sigma, "weights", weights=["tokens"])
    np.testing.assert_allclose(one_loss(wrapper, x, y), 0.0, atol=1e-10)


def test_noise_on_weights_is_one_draw_a_step():
    # (x·w)² with w = 0 and x = (2, 0, 0): 4 ε², one ε for all samples
    dense = layers.Dense(1, kernel_initializer="zeros")
    model = keras.Sequential([keras.Input((3,)), dense])
    x = np.tile(np.array([[2.0, 0.0, 0.0]], "float32"), (8, 1))
    y = np.zeros((8, 1), "float32")
    wrapper = NoiseInjection(model, 0.3, "weights", weights=["kernel"], seed=0)
    losses = []
    wrapper.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=JIT)
    for _ in range(3):
        fit = wrapper.fit(x, y, batch_size=8, epochs=1, verbose=0)
        losses.append(fit.history["loss"][0])
    assert len(set(losses)) == 3, "each step draws anew"
    steps = 200
    x, y = np.tile(x[:1], (steps, 1)), np.zeros((steps, 1), "float32")
    fit = wrapper.fit(x, y, batch_size=1, verbose=0)
    # a mean of `steps` squares; the bias has no noise
    np.testing.assert_allclose(
        fit.history["loss"][0], 4 * 0.09, rtol=5 * (2 / steps) ** 0.5
    )
    np.testing.assert_array_equal(to_numpy(dense.kernel), 0.0)


def test_no_noise_is_plain_training_and_evaluation_has_none():
    x, y = normal(12, 3), normal(12, 1)
    weights = []
    for wrap in (lambda m: m, lambda m: NoiseInjection(m, 0.0)):
        model = tanh_model()
        one_loss(wrap(model), x, y, 0.1, jit=False, batch_size=4)
        weights.append([*map(to_numpy, model.weights)])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    wrapper, model = NoiseInjection(tanh_model(), 5.0), tanh_model()
    noisy, plain = (one_loss(m, x, y, jit=False) for m in (wrapper, model))
    assert abs(noisy - plain) > 0.1
    assert wrapper.evaluate(x, y, verbose=0) == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("perturb", ["inputs", "outputs", "weights"])
def test_same_seed_same_weights(perturb):
    x, y = {"ids": integers(5, 6, 2), "more": normal(6, 4)}, normal(6, 1)
    ends = []
    for seed in (3, 3, 4):
        keras.utils.set_random_seed(1)
        ids = keras.Input((2,), dtype="int32", name="ids")
        more = keras.Input((4,), name="more")
        h = layers.Flatten()(layers.Embedding(5, 2)(ids))
        h = layers.Dense(1)(layers.Add()([h, more]))
        model = keras.Model({"ids": ids, "more": more}, h)
        wrapper = NoiseInjection(model, 0.5, perturb, seed=seed)
        one_loss(wrapper, x, y, 0.1, jit=False, batch_size=3)
        ends.append(to_numpy(model.layers[-1].kernel))
    np.testing.assert_array_equal(ends[0], ends[1])
    assert (ends[0] != ends[2]).any()


def test_integers_stay():
    ids = keras.Input((2,), dtype="int32", name="ids")
    more = keras.Input((1,), name="more")
    h = layers.Flatten()(layers.Embedding(500, 1)(ids))
    h = h + 0.0 * more  # no float says anything
    model = keras.Model({"ids": ids, "more": more}, h)
    x = {"ids": integers(500, 6, 2), "more": normal(6, 1)}
    y = normal(6, 2)
    wrapper = NoiseInjection(model, 50.0, seed=0)
    noisy, plain = (one_loss(m, x, y, jit=False) for m in (wrapper, model))
    np.testing.assert_allclose(noisy, plain, rtol=1e-6)


def test_masked_steps_stay_masked():
    ids = keras.Input((None,), dtype="int32")
    h = layers.Embedding(5, 2, mask_zero=True)(ids)
    model = keras.Model(ids, layers.GlobalAveragePooling1D()(h))
    model.layers[1].embeddings.assign(np.zeros((5, 2)))
    x = np.zeros((20_000, 4), "int32")
    x[:, 0] = 1
    wrapper = NoiseInjection(model, 0.3, "outputs", seed=0)
    loss = one_loss(wrapper, x, np.zeros((len(x), 2), "float32"))
    # of the first position alone; over all it would be a quarter
    np.testing.assert_allclose(loss, 0.09, rtol=0.05)


def padded_model(kind):
    """A recurrent model of padded sequences, which get their mask somehow."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, 4), name="steps")
    masking = layers.Masking()
    if kind == "subclassed":
        model = Recurrent()
        model(np.ones((1, 2, 4), "float32"))
        return model
    if kind == "in a row":
        return keras.Sequential(
            [inputs, masking, layers.LSTM(3), layers.Dense(1)]
        )
    if kind == "inside":
        x = keras.Input((None, 4))
        inner = keras.Model(x, masking(layers.Dropout(0.0)(x)))
        h = inner(inputs)
    elif kind == "own mask":
        h = NonZero()(inputs)
    else:
        h = masking(inputs)
    return keras.Model(inputs, layers.Dense(1)(layers.LSTM(3)(h)))


class Recurrent(keras.Model):
    def __init__(self):
        super().__init__()
        self.masking, self.lstm = layers.Masking(), layers.LSTM(3)
        self.out = layers.Dense(1)

    def call(self, x):
        return self.out(self.lstm(self.masking(x)))


class NonZero(layers.Layer):
    """Reads from the numbers which steps there are."""

    def call(self, x):
        return 2.0 * x

    def compute_mask(self, x, previous_mask=None):
        return ops.any(x != 0, axis=-1)


@pytest.mark.parametrize(
    "kind", ["direct", "inside", "in a row", "own mask", "subclassed"]
)
def test_small_noise_is_the_plain_loss_of_masked_steps(kind):
    x, y = normal(8, 9, 4), np.ones((8, 1), "float32")
    x[:, 3:] = 0  # padding
    model = padded_model(kind)
    wrapper = NoiseInjection(model, 1e-5, seed=0)
    padded = one_loss(wrapper, x, y, jit=False)
    short = one_loss(wrapper, x[:, :3].copy(), y, jit=False)
    plain = one_loss(model, x, y, jit=False)
    assert padded == pytest.approx(plain, abs=1e-4)
    assert short == pytest.approx(plain, abs=1e-4)
    assert padded != plain  # the steps that are there have noise


@untrained
def test_padding_gets_no_noise_anywhere():
    """Also where the input goes beside the mask."""
    inputs = keras.Input((5, 2))
    masked = layers.GlobalAveragePooling1D()(layers.Masking()(inputs))
    bare = ops.sum(inputs, axis=1)
    model = keras.Model(inputs, layers.Concatenate()([masked, bare]))
    x = np.zeros((20_000, 5, 2), "float32")
    x[:, 0] = 1e-6  # one step, all but 0
    wrapper = NoiseInjection(model, 0.3, seed=0)
    loss = one_loss(wrapper, x, np.zeros((len(x), 4), "float32"))
    # one step's noise in each half; of five it would be 0.018 and 0.45
    np.testing.assert_allclose(loss, 0.09, rtol=0.05)


def lengths_model():
    """Reads from floats which steps count."""
    steps = keras.Input((4,), name="steps")
    length = keras.Input((1,), name="length")
    places = np.arange(4, dtype="float32")
    counts = ops.cast(ops.greater(length, places), "float32")  # (b, 4)
    y = ops.sum(steps * counts, axis=1, keepdims=True)
    return keras.Model({"steps": steps, "length": length}, y)


@untrained
@pytest.mark.parametrize("names", ["steps", ["steps"]])
def test_inputs_that_get_noise_can_be_chosen(names):
    n = 20_000
    x = {
        "steps": np.zeros((n, 4), "float32"),
        "length": np.full((n, 1), 2.0, "float32"),
    }
    y = np.zeros((n, 1), "float32")
    model = lengths_model()
    chosen = NoiseInjection(model, 0.3, inputs=names, seed=0)
    loss = one_loss(chosen, x, y)
    np.testing.assert_allclose(loss, 2 * 0.09, rtol=0.05)  # of two steps
    # else the noise changes how many steps there are
    all_of_them = NoiseInjection(model, 0.3, seed=0)
    assert one_loss(all_of_them, x, y) > 2.2 * 0.09
    assert chosen.get_config()["inputs"] == names


@untrained
def test_whole_numbers_into_an_input_of_floats_get_noise():
    """Bytes of an image: Keras makes floats of them."""
    model = keras.Sequential([keras.Input((3,)), layers.Rescaling(1.0)])
    x = np.full((N, 3), 7, "uint8")
    wrapper = NoiseInjection(model, 0.5, seed=0)
    loss = one_loss(wrapper, x, np.full((N, 3), 7.0, "float32"))
    np.testing.assert_allclose(loss, 0.25, rtol=0.03)


def words():
    ids = keras.Input((4,), dtype="int32")
    h = layers.Flatten()(layers.Embedding(5, 2, name="tokens")(ids))
    return keras.Model(ids, layers.Dense(1, name="out")(h))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"stddev": -0.1}, "Received: stddev=-0.1"),
        ({"stddev": float("nan")}, "Received: stddev=nan"),
        ({"stddev": None}, "Received: stddev=None"),
        ({"perturb": "labels"}, "Received: perturb='labels'"),
        ({"perturb": "inputs"}, r"No input is a float.*\['int32'\]"),
        (
            {"perturb": "outputs", "embedding": "words"},
            "which are: tokens. Received: embedding='words'",
        ),
        ({"perturb": "outputs", "weights": ["out"]}, "`weights` is for"),
        ({"perturb": "weights", "embedding": "tokens"}, "`embedding` is for"),
        (
            {"perturb": "weights", "weights": ["out/kernal"]},
            "tokens/embeddings, out/kernel.*Received: 'out/kernal'",
        ),
        ({"perturb": "weights", "weights": "out"}, "must be a list"),
        ({"perturb": "weights", "weights": [3]}, "must be a list"),
        (
            {"perturb": "outputs", "inputs": "x"},
            "`inputs` is for perturb=.inputs.. Received: inputs='x'",
        ),
        ({"perturb": "weights", "inputs": "x"}, "`inputs` is for"),
        ({"perturb": "inputs", "embedding": "x"}, "`embedding` is for"),
    ],
)
def test_bad_arguments_are_rejected(arguments, match):
    with pytest.raises(ValueError, match=match):
        NoiseInjection(words(), **arguments)


@pytest.mark.parametrize("inputs", ["ids", ["steps", "x"], [], 3, [0]])
def test_inputs_must_be_names_of_floats(inputs):
    with pytest.raises(ValueError, match="`inputs` must .*Received: inputs="):
        NoiseInjection(lengths_model(), inputs=inputs)


class OfAnything(keras.Model):
    """Its inputs are not known before it is called."""

    def call(self, x):
        return ops.cast(x, "float32")


def test_integers_are_refused_when_they_arrive():
    model = OfAnything()
    model(np.zeros((2, 1), "int32"))
    wrapper = NoiseInjection(model, 0.1)
    with pytest.raises(ValueError, match=r"No input is a float.*int32"):
        one_loss(wrapper, np.zeros((2, 1), "int32"), np.zeros((2, 1)))
