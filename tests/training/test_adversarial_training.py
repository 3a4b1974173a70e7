"""Article: https://kexue.fm/archives/7234

The acceptance checks are those of FGM: its norm, no drift, ε = 0, and the two
forms, with and without the plain loss, against NumPy.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops

from su_models.optimizers import LazyOptimizer, Lookahead, SummedGradients
from su_models.training import AdversarialTraining
from su_models.training.base import _Start, _Step
from tests.contract.base import JIT, integers, normal, to_numpy
from tests.training.text_classifier import (
    BATCH,
    DIM,
    LENGTH,
    VOCABULARY,
    assert_weights,
    classifier,
    crossentropy,
    data,
    fit,
    reference,
    softmax,
    start,
)
from tests.training.two_replicas import needs_replicas, run_on_two_replicas

BACKEND = keras.config.backend()


def unit(g, by_sample=False):
    axes = tuple(range(1, g.ndim)) if by_sample else None
    return g / np.sqrt(np.square(g).sum(axis=axes, keepdims=by_sample))


def worst(wrapper, x=None, y=None):
    """δ of a batch, for a compiled wrapper."""
    if x is None:
        x, y = data()
    step = _Step(wrapper, x, y, None, _Start(wrapper.model))
    return [to_numpy(d) for d in wrapper._worst(step)]


def compiled(model, **kwargs):
    wrapper = AdversarialTraining(model, **kwargs)
    wrapper.compile(keras.optimizers.SGD(0.5), crossentropy())
    return wrapper


# ---- what is added


def test_delta_has_the_norm_epsilon_and_the_direction_of_eq_3():
    (delta,) = worst(compiled(classifier(), epsilon=0.3))
    g = reference(start(), *data())[1][0]
    assert np.linalg.norm(delta) == pytest.approx(0.3, abs=1e-6)
    np.testing.assert_allclose(delta, 0.3 * unit(g), atol=1e-6)
    assert (delta[VOCABULARY - 2 :] == 0).all()  # in no text


@pytest.mark.parametrize("size", [1e-12, 1e12])
def test_the_norm_does_not_depend_on_the_size_of_the_gradient(size):
    wrapper = compiled(classifier(), epsilon=0.3)
    wrapper.compile(
        "sgd", lambda y_true, y_pred: size * crossentropy()(y_true, y_pred)
    )
    (delta,) = worst(wrapper)
    assert np.linalg.norm(delta) == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize("perturb", ["weights", "outputs"])
def test_no_gradient_is_no_delta(perturb):
    model = classifier()
    model.set_weights([w if i != 1 else 0 * w for i, w in enumerate(start())])
    (delta,) = worst(compiled(model, perturb=perturb))
    assert (delta == 0).all()


def test_each_occurrence_moves_by_itself_and_each_sample_by_epsilon():
    wrapper = compiled(classifier(), epsilon=0.3, perturb="outputs")
    (delta,) = worst(wrapper)
    slices = reference(start(), *data())[2]
    assert delta.shape == (BATCH, LENGTH, DIM)
    np.testing.assert_allclose(delta, 0.3 * unit(slices, True), atol=1e-6)


def test_projected_steps_stay_in_the_ball():
    x, y = data()
    for size in (0.7, 0.1, None):
        wrapper = compiled(classifier(), epsilon=0.4, steps=3, step_size=size)
        size = 2.5 * 0.4 / 3 if size is None else size
        expected = np.zeros((VOCABULARY, DIM))
        table, *rest = start()
        for _ in range(3):
            g = reference([table + expected, *rest], x, y)[1][0]
            expected = expected + size * unit(g)
            norm = np.linalg.norm(expected)
            expected *= min(1, 0.4 / norm)
        (delta,) = worst(wrapper)
        np.testing.assert_allclose(delta, expected, atol=2e-6)
        assert np.linalg.norm(delta) < 0.4 + 1e-6


def linear(x, y, delta=0.0):
    """The loss of a linear classifier, and its gradient by x."""
    w, b = normal(12, 3).astype("float64"), normal(3).astype("float64")
    flat = (x + delta).reshape(len(x), -1)
    p = softmax(flat @ w + b)
    loss = -np.log(p[np.arange(len(x)), y]).mean()
    return loss, ((p - np.eye(3)[y]) @ w.T / len(x)).reshape(x.shape)


def linear_model():
    model = keras.Sequential(
        [keras.Input((2, 2, 3)), layers.Flatten(), layers.Dense(3)]
    )
    model.set_weights([normal(12, 3), normal(3)])
    return model


@pytest.mark.parametrize("jit", sorted({False, JIT}))
@pytest.mark.parametrize("steps", [1, 3])
def test_images_move_each_by_epsilon_up_the_gradient(steps, jit):
    x, y = normal(5, 2, 2, 3), integers(3, 5)
    delta = np.zeros(x.shape)
    size = 0.3 if steps == 1 else 2.5 * 0.3 / steps
    for _ in range(steps):
        delta = delta + size * unit(linear(x, y, delta)[1], True)
        norms = np.sqrt(np.square(delta).sum((1, 2, 3), keepdims=True))
        delta *= np.minimum(1, 0.3 / norms)
    wrapper = compiled(
        linear_model(), epsilon=0.3, steps=steps, perturb="inputs"
    )
    np.testing.assert_allclose(worst(wrapper, x, y)[0], delta, atol=1e-5)
    wrapper.compile(
        keras.optimizers.SGD(0.5),
        crossentropy(),
        jit_compile=jit,
        run_eagerly=BACKEND == "tensorflow" and not jit,
    )
    loss = wrapper.fit(x, y, verbose=0).history["loss"]
    assert loss == [pytest.approx(linear(x, y, delta)[0], abs=1e-5)]


def test_only_the_named_input_is_moved():
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    out = layers.Dense(3)(layers.Concatenate()([a, b]))
    wrapper = compiled(
        keras.Model([a, b], out), perturb="inputs", inputs="b", epsilon=0.3
    )
    x, y = [normal(5, 3), normal(5, 3)[::-1].copy()], integers(3, 5)
    (delta,) = worst(wrapper, x, y)
    assert delta.shape == (5, 3)
    np.testing.assert_allclose(np.linalg.norm(delta, axis=1), 0.3, atol=1e-6)
    assert wrapper.get_config()["inputs"] == "b"


def test_padded_steps_have_no_delta():
    steps = keras.Input((None, 4))
    h = layers.LSTM(5)(layers.Masking()(steps))
    model = keras.Model(steps, layers.Dense(3)(h))
    x, y = normal(5, 7, 4), integers(3, 5)
    x[:, 4:] = 0
    (delta,) = worst(compiled(model, perturb="inputs"), x, y)
    assert (delta[:, 4:] == 0).all()
    short = worst(compiled(model, perturb="inputs"), x[:, :4].copy(), y)
    np.testing.assert_allclose(delta[:, :4], short[0], atol=1e-6)


# ---- the step


@pytest.mark.parametrize("include_clean", [False, True])
@pytest.mark.parametrize("jit", sorted({False, JIT}))
def test_a_step_is_the_articles_and_bert4torchs(jit, include_clean):
    """Eq. (4); and with the plain loss, both gradients add up."""
    x, y = data()
    table, w, b = start()
    clean, plain, _ = reference((table, w, b), x, y)
    delta = 0.3 * unit(plain[0])
    loss, gradients, _ = reference((table + delta, w, b), x, y)
    if include_clean:
        loss += clean
        gradients = [g + p for g, p in zip(gradients, plain, strict=True)]
    model = classifier()
    wrapper = AdversarialTraining(
        model, "tokens", 0.3, include_clean=include_clean
    )
    history = fit(wrapper, jit=jit)
    expected = [v - 0.5 * g for v, g in zip(start(), gradients, strict=True)]
    assert_weights(model, expected)
    assert history["loss"] == [pytest.approx(loss, abs=1e-5)]


def test_a_step_on_look_ups_is_the_articles():
    x, y = data()
    delta = 0.3 * unit(reference(start(), x, y)[2], True)
    _, gradients, _ = reference(start(), x, y, delta)
    model = classifier()
    fit(AdversarialTraining(model, epsilon=0.3, perturb="outputs"), jit=True)
    expected = [v - 0.5 * g for v, g in zip(start(), gradients, strict=True)]
    assert_weights(model, expected)


def test_embeddings_do_not_drift():
    model = classifier()
    wrapper = AdversarialTraining(model, epsilon=0.37)
    steps = 1000 if JIT else 50
    fit(wrapper, batches=steps, rate=0.0, jit=True)
    for v, w in zip(model.get_weights(), start(), strict=True):
        np.testing.assert_array_equal(v, w)


@pytest.mark.parametrize("include_clean", [False, True])
def test_epsilon_0_is_plain_training(include_clean):
    plain, model = classifier(3, 0.4), classifier(3, 0.4)
    wrapper = AdversarialTraining(
        model, epsilon=0.0, include_clean=include_clean
    )
    keras.utils.set_random_seed(2)
    fit(wrapper, 3, rate=0.25 if include_clean else 0.5)  # the loss is twice
    keras.utils.set_random_seed(2)
    fit(plain, 3, optimizer=SummedGradients(keras.optimizers.SGD(0.5)))
    for v, w in zip(model.variables, plain.variables, strict=True):
        np.testing.assert_array_equal(to_numpy(v), to_numpy(w))


def test_a_small_epsilon_is_nearly_plain_training():
    """Masks of both passes are equal, or dropout would part them."""
    plain, model = classifier(3, 0.4), classifier(3, 0.4)
    fit(AdversarialTraining(model, epsilon=1e-6), 3)
    fit(plain, 3)
    assert_weights(model, plain.get_weights(), atol=1e-5)


# ---- in `fit` with all that it may be given


def test_weights_of_samples_and_classes_count():
    x, y = data()
    only = [i for i in range(BATCH) if y[i] == y[0]]
    weight = {c: float(c == y[0]) for c in range(3)}
    table, w, b = start()
    part = x[only], y[only]
    delta = 0.5 * unit(reference((table, w, b), *part)[1][0])
    gradients = reference((table + delta, w, b), *part)[1]
    share = len(only) / BATCH
    expected = [
        v - 0.5 * share * g for v, g in zip(start(), gradients, strict=True)
    ]
    for kwargs in (
        {"class_weight": weight},
        {"sample_weight": (y == y[0]).astype("float32")},
    ):
        model = classifier()
        fit(AdversarialTraining(model), **kwargs)
        assert_weights(model, expected)


def test_small_gradients_survive_float16():
    """Of 1e-9 each: float16 ends at 6e-8."""
    with_low = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = classifier()
    finally:
        keras.config.set_dtype_policy(with_low)
    table, w, b = start()
    model.set_weights([table, 1e-6 * w, b])
    (delta,) = worst(compiled(model, epsilon=0.3))
    g = reference([table, 1e-6 * w, b], *data())[1][0]
    assert 0 < np.abs(g).max() < 1e-6
    assert np.linalg.norm(delta) == pytest.approx(0.3, abs=1e-3)
    cosine = (delta * g).sum() / np.linalg.norm(g) / 0.3
    assert cosine > 0.95


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: LazyOptimizer(keras.optimizers.Adam(0.1)),
        lambda: Lookahead(keras.optimizers.Adam(0.1), 2),
        lambda: keras.optimizers.Adam(
            0.1, gradient_accumulation_steps=2, global_clipnorm=0.1
        ),
    ],
)
def test_it_works_under_other_optimizers(optimizer):
    model = classifier()
    fit(AdversarialTraining(model), 2, optimizer=optimizer())
    table, *rest = model.get_weights()
    np.testing.assert_array_equal(table[-2:], start()[0][-2:])
    for v, w in zip((table[:-2], *rest), start(), strict=True):
        assert np.isfinite(v).all() and (v != w[: len(v)]).any()


def two_towers():
    """Dict inputs, one of them of float; two outputs; a table used twice."""
    one = keras.Input((4,), dtype="int32", name="one")
    two = keras.Input((3,), dtype="int32", name="two")
    more = keras.Input((2,), name="more")
    table = layers.Embedding(9, 4, mask_zero=True, name="tokens")
    mean = layers.GlobalAveragePooling1D()
    x = layers.Concatenate()([mean(table(one)), mean(table(two)), more])
    outputs = {
        "size": layers.Dense(1, name="size")(x),
        "kind": layers.Dense(3, name="kind")(x),
    }
    return keras.Model({"one": one, "two": two, "more": more}, outputs)


@pytest.mark.parametrize("perturb", ["weights", "outputs", "inputs"])
def test_several_inputs_and_outputs(perturb):
    keras.utils.set_random_seed(1)
    wrapper = AdversarialTraining(two_towers(), perturb=perturb)
    wrapper.compile(
        "sgd",
        {"size": "mse", "kind": crossentropy()},
        metrics={"kind": ["accuracy"]},
        run_eagerly=BACKEND == "tensorflow",
    )
    x = {
        "one": integers(9, 5, 4),
        "two": integers(9, 5, 3),
        "more": normal(5, 2),
    }
    y = {"size": normal(5, 1), "kind": integers(3, 5)}
    plain = wrapper.evaluate(x, y, return_dict=True, verbose=0)
    history = wrapper.fit(x, y, verbose=0).history
    assert {*history} == {"loss", "size_loss", "kind_loss", "kind_accuracy"}
    # the losses of the parts are those of the plain pass
    for key in ("size_loss", "kind_loss"):
        assert history[key] == [pytest.approx(plain[key], rel=1e-5)]
    assert history["loss"][0] > plain["loss"]
    deltas = sorted(worst(wrapper, x, y), key=lambda d: -d.shape[1])
    assert [d.shape for d in deltas] == {
        "weights": [(9, 4)],
        "outputs": [(5, 4, 4), (5, 3, 4)],
        "inputs": [(5, 2)],
    }[perturb]
    if perturb == "outputs":
        norms = sum(np.square(d).sum(axis=(1, 2)) for d in deltas)
        np.testing.assert_allclose(np.sqrt(norms), 0.5, atol=1e-6)
        padded = x["one"] == 0
        assert padded.any() and (deltas[0][padded] == 0).all()


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.tokens = layers.Embedding(VOCABULARY, DIM, name="tokens")
        self.classes = layers.Dense(3)

    def call(self, inputs):
        return self.classes(ops.mean(self.tokens(inputs), axis=1))


def test_a_subclassed_model_trains_as_a_functional_one():
    x, _ = data()
    model, other = Subclassed(), classifier()
    model(x)
    model.set_weights(start())
    for net in (model, other):
        fit(AdversarialTraining(net, "tokens"))
    assert_weights(model, other.get_weights())


def test_interrupted_training_goes_on(tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    whole, model = classifier(), classifier()
    fit(AdversarialTraining(whole), optimizer=keras.optimizers.Adam(), epochs=2)
    wrapper = AdversarialTraining(model)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        fit(
            wrapper,
            optimizer=keras.optimizers.Adam(),
            epochs=2,
            callbacks=[backup, Interrupt()],
        )
    model.set_weights([0 * w for w in model.get_weights()])
    history = fit(
        wrapper,
        optimizer=keras.optimizers.Adam(),
        epochs=2,
        callbacks=[backup],
    )
    assert len(history["loss"]) == 1
    assert_weights(model, whole.get_weights())


MIRRORED = """
from su_models.training import AdversarialTraining, GradientPenalty
from tests.training.text_classifier import (
    classifier, crossentropy, data, reference, start
)

x, y = data(8)
table, w, b = start()

def attacked(x, y):
    g = reference((table, w, b), x, y)[1][0]
    g = 0.5 * g / np.linalg.norm(g)
    return reference((table + g, w, b), x, y)[1]

parts = [attacked(x[:4], y[:4]), attacked(x[4:], y[4:])]
expected = [
    v - 0.25 * (g + h) for v, g, h in zip(start(), *parts, strict=True)
]

def trained(kind, x, y, scope=None):
    with strategy.scope() if scope else tf.device("CPU:0"):
        model = classifier()
        net = kind(model)
        net.compile(keras.optimizers.SGD(0.5), crossentropy())
    history = net.fit(x, y, batch_size=len(x), shuffle=False, verbose=0)
    return model.get_weights(), history.history["loss"][0]

weights, _ = trained(AdversarialTraining, x, y, strategy)
for v, e in zip(weights, expected, strict=True):
    np.testing.assert_allclose(v, e, atol=1e-5)
# twice the same part: its own penalty, as on one machine
both = [np.concatenate([a[:4], a[:4]]) for a in (x, y)]
many, loss = trained(GradientPenalty, *both, strategy)
one, alone = trained(GradientPenalty, x[:4], y[:4])
for v, e in zip(many, one, strict=True):
    np.testing.assert_allclose(v, e, atol=1e-5)
np.testing.assert_allclose(loss, alone, rtol=1e-5)
"""


@pytest.mark.slow
@needs_replicas
def test_each_replica_has_its_own_delta():
    run_on_two_replicas(MIRRORED)


# ---- refusals


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"epsilon": -0.1}, ">= 0. Received: epsilon=-0.1"),
        ({"epsilon": float("nan")}, "Received: epsilon=nan"),
        ({"epsilon": None}, "Received: epsilon=None"),
        ({"steps": 0}, "Received: steps=0"),
        ({"steps": 1.5}, "Received: steps=1.5"),
        ({"step_size": 0.0}, "> 0. Received: step_size=0.0"),
        ({"include_clean": "no"}, "Received: include_clean='no'"),
        ({"perturb": "logits"}, "'outputs', 'weights'.*Received: perturb"),
        ({"embedding": "words"}, "which are: tokens. Received: .*words"),
        ({"embedding": ["tokens", "x"]}, "which are: tokens. Received"),
        ({"embedding": []}, r"Received: embedding=\[\]"),
        ({"embedding": 3}, "a name, a list of names.*Received: embedding=3"),
        (
            {"embedding": "words", "perturb": "outputs"},
            "which are: tokens. Received",
        ),
    ],
)
def test_bad_arguments_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        AdversarialTraining(classifier(), **arguments)


def test_a_model_without_embeddings_is_refused():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    for perturb in ("weights", "outputs"):
        with pytest.raises(ValueError, match="which are: none. Received"):
            AdversarialTraining(model, perturb=perturb)


def test_look_ups_of_a_subclassed_model_are_refused():
    model = Subclassed()
    model(data()[0])
    with pytest.raises(ValueError, match="take the tables.*Received: model="):
        AdversarialTraining(model, perturb="outputs")
