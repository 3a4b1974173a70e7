"""What all training wrappers share: the same model, under another `fit`."""

import contextlib
import json
import re
import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

from su_models import training
from su_models.training import AdversarialTraining, GradientPenalty
from su_models.training.base import TrainingWrapper
from tests.contract.base import JIT, integers, normal, to_numpy
from tests.training.text_classifier import classifier, crossentropy, data
from tests.training.two_replicas import needs_replicas, run_on_two_replicas


class Again(TrainingWrapper):
    """Trains on the pass made again: the plain training, if that is right."""

    def _training_loss(self, loss, step):
        return step.loss()


class Doubled(TrainingWrapper):
    """Trains at twice the value of the embeddings."""

    def _training_loss(self, loss, step):
        e = self.model.layers[1].embeddings
        return step.loss([(e, 2.0 * e.value)])


def text_model(seed=None):
    """Everything that has a state or a loss of its own, in a few weights."""
    keras.utils.set_random_seed(3)
    ids = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 4, embeddings_regularizer="l2")(ids)
    x = layers.Dropout(0.4, seed=seed)(x)
    x = layers.Flatten()(x)
    x = layers.BatchNormalization()(x)
    x = layers.Dense(3, activity_regularizer="l2")(x)
    return keras.Model(ids, x)


def fit(model, optimizer="sgd", epochs=1, jit=False, **kwargs):
    keras.utils.set_random_seed(4)  # PyTorch's dropout has a state of its own
    x, y = integers(7, 12, 5), integers(3, 12)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        optimizer,
        loss,
        metrics=["accuracy"],
        jit_compile=jit,
        # TensorFlow takes its time over graphs
        run_eagerly=keras.config.backend() == "tensorflow" and not jit,
    )
    return model.fit(
        x, y, batch_size=4, epochs=epochs, shuffle=False, verbose=0, **kwargs
    )


def assert_same(model, other, **kwargs):
    for v, w in zip(model.variables, other.variables, strict=True):
        np.testing.assert_allclose(to_numpy(v), to_numpy(w), **kwargs)


@pytest.mark.parametrize("jit", sorted({False, JIT}))
def test_the_pass_made_again_is_the_pass_of_keras(jit):
    plain, model = text_model(), text_model()
    wrapper = Again(model)
    expected = fit(plain, jit=jit).history
    got = fit(wrapper, jit=jit).history
    assert_same(model, plain, rtol=1e-5, atol=1e-7)
    for key in expected:
        np.testing.assert_allclose(got[key], expected[key], rtol=1e-5)


def test_random_states_advance_as_in_plain_training():
    model, plain = text_model(seed=5), text_model(seed=5)
    (before,) = (v.numpy().copy() for v in model.variables if is_seed(v))
    for net in Again(model), plain:
        fit(net)
    a, b = (
        v.numpy() for m in (model, plain) for v in m.variables if is_seed(v)
    )
    np.testing.assert_array_equal(a, b)
    assert (a != before).any()


def is_seed(variable):
    return "seed" in variable.path


def test_gradients_reach_the_weights_through_other_values():
    model, doubled = text_model(), text_model()
    e, f = model.layers[1].embeddings, doubled.layers[1].embeddings
    start = to_numpy(e).copy()
    f.assign(2.0 * f)
    for net in Doubled(model), doubled:
        keras.utils.set_random_seed(4)
        x, y = integers(7, 4, 5), integers(3, 4)
        net.compile(
            keras.optimizers.SGD(0.1),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            run_eagerly=keras.config.backend() == "tensorflow",
        )
        net.fit(x, y, shuffle=False, verbose=0)
    moved = to_numpy(f) - 2 * start
    assert np.abs(moved).max() > 1e-3
    # the gradient of L(2 E) by E is twice that of L at 2 E
    np.testing.assert_allclose(to_numpy(e) - start, 2 * moved, atol=1e-6)
    for v, w in zip(
        model.trainable_weights[1:], doubled.trainable_weights[1:], strict=True
    ):
        np.testing.assert_allclose(to_numpy(v), to_numpy(w), atol=1e-6)


def test_it_evaluates_and_predicts_as_the_model():
    model = text_model()
    wrapper = Doubled(model)
    x, y = integers(7, 12, 5), integers(3, 12)
    for net in (wrapper, model):
        net.compile(loss="mse", metrics=["mae"], jit_compile=JIT)
    y = normal(12, 3)
    assert wrapper.evaluate(x, y, verbose=0) == pytest.approx(
        model.evaluate(x, y, verbose=0), rel=1e-6
    )
    np.testing.assert_array_equal(
        wrapper.predict(x, verbose=0), model.predict(x, verbose=0)
    )
    np.testing.assert_array_equal(to_numpy(wrapper(x)), to_numpy(model(x)))


def test_variables_are_those_of_the_model():
    wrapper = Again(text_model())
    for name in ("weights", "variables", "trainable_variables"):
        ours, its = getattr(wrapper, name), getattr(wrapper.model, name)
        assert [id(v) for v in ours] == [id(v) for v in its]


def test_a_loss_of_another_pass_begins_where_the_model_stands():
    wrapper = Again(text_model(seed=5))
    fit(wrapper)
    x, y = integers(7, 4, 5), integers(3, 4)
    wrapper(x, training=True)  # remembered, and not of this step
    y_pred = wrapper.model(x, training=True)
    states = [to_numpy(v).copy() for v in wrapper.non_trainable_variables]
    loss = to_numpy(wrapper.compute_loss(x, y, y_pred))
    after = [to_numpy(v) for v in wrapper.non_trainable_variables]
    for a, b in zip(after, states, strict=True):
        np.testing.assert_array_equal(a, b)
    plain = wrapper.model
    fit(plain, epochs=0)  # compiles
    y_pred = plain(x, training=True)
    expected = to_numpy(plain.compute_loss(x, y, y_pred))
    assert loss == pytest.approx(expected, rel=1e-5)


def test_masks_and_weights_count_once_in_each_pass():
    """Keras on PyTorch multiplies the weights by the mask in place."""
    x, y = integers(7, 4, 5), integers(3, 4, 5)
    weights = 1.0 + normal(4, 5) ** 2
    losses = []
    for wrap in (lambda model: model, Again):
        keras.utils.set_random_seed(3)
        ids = keras.Input((5,), dtype="int32")
        tags = layers.Embedding(7, 4, mask_zero=True)(ids)
        net = wrap(keras.Model(ids, layers.Dense(3)(tags)))
        net.compile(
            keras.optimizers.SGD(0.1),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
        history = net.fit(x, y, sample_weight=weights, epochs=2, verbose=0)
        losses.append(history.history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_what_no_pass_changes_is_copied_but_once():
    model = text_model()
    model.layers[1].trainable = False
    wrapper = Again(model)
    fit(wrapper, jit=False)
    table = model.layers[1].embeddings
    copied = {id(v) for v, _ in wrapper._start().states}
    assert copied and id(table) not in copied


class OwnLoss(keras.Model):
    def compute_loss(self, *args, **kwargs):
        return ops.zeros(())


class OwnTest(keras.Model):
    def test_step(self, *args):
        return {}


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: layers.Dense(2), "must be a `keras.Model`. Received"),
        (lambda: Again(text_model()), "plain model.*Received: model=<Again"),
        (lambda: keras.Sequential([layers.Dense(2)]), "must be built"),
        (
            lambda: OwnLoss(*graph()),
            "`compute_loss` of its own.*Received",
        ),
        (lambda: OwnTest(*graph()), "`test_step` of its own.*Received"),
    ],
)
def test_models_that_cannot_be_wrapped_are_rejected(make, match):
    with pytest.raises(ValueError, match=match):
        Again(make())


def graph():
    x = keras.Input((3,))
    return x, layers.Dense(2)(x)


ARGUMENTS = {
    "Flooding": {"level": 0.1},
    "ImplicitGradientRegularization": {"rate": 0.1},
    "NoiseInjection": {"perturb": "weights", "seed": 0},
    "VirtualAdversarialTraining": {"from_logits": True, "seed": 0},
}
each_wrapper = pytest.mark.parametrize("name", sorted(training.__all__))


def wrapped(name):
    model = classifier()
    return model, getattr(training, name)(model, **ARGUMENTS.get(name, {}))


@pytest.mark.slow  # torch.compile takes its time
@pytest.mark.filterwarnings(  # which its tracing causes of itself
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)
@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="the contract compiles by XLA"
)
@each_wrapper
def test_fit_compiles_on_pytorch(name):
    x, y = data()
    losses = []
    for jit in (False, True):
        _, net = wrapped(name)
        net.compile(keras.optimizers.SGD(0.5), crossentropy(), jit_compile=jit)
        history = net.fit(x, y, epochs=2, shuffle=False, verbose=0)
        losses.append(history.history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.skipif(
    keras.config.backend() != "torch", reason="others differentiate programs"
)
@pytest.mark.parametrize(
    "name", ["AdversarialTraining", "VirtualAdversarialTraining"]
)
def test_pytorch_keeps_no_graph_of_an_ascent(name, monkeypatch):
    import torch

    grad, kept = torch.autograd.grad, []

    def noted(*args, create_graph=False, **kwargs):
        kept.append(create_graph)
        return grad(*args, create_graph=create_graph, **kwargs)

    monkeypatch.setattr(torch.autograd, "grad", noted)
    _, net = wrapped(name)
    net.compile("sgd", crossentropy(), jit_compile=False)
    net.train_on_batch(*data())
    assert kept and not any(kept)


@each_wrapper
def test_gradients_are_accumulated(name):
    x, y = data()
    model, net = wrapped(name)
    sgd = keras.optimizers.SGD(0.5, gradient_accumulation_steps=2)
    eager = keras.config.backend() == "tensorflow"
    net.compile(sgd, crossentropy(), run_eagerly=eager, jit_compile=False)
    start = model.get_weights()
    for moves in (False, True):
        net.train_on_batch(x, y)
        if keras.config.backend() == "jax":
            net.jax_state_sync()
        for v, w in zip(model.get_weights(), start, strict=True):
            assert np.isfinite(v).all() and (v != w).any() == moves


EACH_ON_TWO = """
from su_models import training
from tests.training.test_base import wrapped
from tests.training.text_classifier import crossentropy, data

x, y = data(8)
for name in training.__all__:
    with strategy.scope():
        model, net = wrapped(name)
        net.compile(keras.optimizers.SGD(0.5), crossentropy())
    start = model.get_weights()
    net.fit(x, y, batch_size=8, verbose=0)
    for v, w in zip(model.get_weights(), start, strict=True):
        assert np.isfinite(v).all() and (v != w).any(), name
"""


@pytest.mark.slow
@needs_replicas
def test_each_trains_on_two_replicas():
    run_on_two_replicas(EACH_ON_TWO)


# ---- gradients of tables, on every backend and in every precision

FORMS = {  # of each wrapper, what looks a table up in another way
    "AdversarialTraining": [
        {"include_clean": True},
        {"include_clean": True, "perturb": "outputs", "steps": 2},
    ],
    "Flooding": [{"level": 0.1}],
    "GradientPenalty": [{}, {"perturb": "weights"}],
    "ImplicitGradientRegularization": [{"rate": 0.1}],
    "NoiseInjection": [
        {"perturb": "weights", "seed": 0},
        {"perturb": "outputs", "seed": 0},
    ],
    "VirtualAdversarialTraining": [
        {"from_logits": True, "seed": 0},
        {"from_logits": True, "seed": 0, "perturb": "outputs"},
    ],
}
each_form = pytest.mark.parametrize(
    ("name", "arguments"),
    [(name, form) for name in sorted(FORMS) for form in FORMS[name]],
)


def test_every_wrapper_has_its_forms():
    assert sorted(FORMS) == sorted(training.__all__)


def moved(name, arguments, optimizer, jit=False):
    """How far one step on texts with repeated tokens moves the weights."""
    x, y = data()
    model = classifier()
    before = [w.astype("float64") for w in model.get_weights()]
    net = getattr(training, name)(model, **arguments)
    fit_once(net, optimizer, x, y, jit)
    after = model.get_weights()
    return [b - a for a, b in zip(after, before, strict=True)]


def fit_once(net, optimizer, x, y, jit=False, **kwargs):
    eager = keras.config.backend() == "tensorflow" and not jit
    net.compile(optimizer, crossentropy(), jit_compile=jit, run_eagerly=eager)
    kwargs = {"batch_size": len(x), "verbose": 0, "shuffle": False, **kwargs}
    return net.fit(x, y, **kwargs).history


@each_form
def test_adam_is_given_the_sum_over_repeated_tokens(name, arguments):
    """Its first step, from the gradient that plain descent reveals.

    Σ g_i² in the place of (Σ g_i)² would make it shorter or longer.
    """
    rate, beta, epsilon = 0.05, 0.75, 1e-3
    # XLA draws other numbers on TensorFlow
    gradients = moved(name, arguments, keras.optimizers.SGD(1.0), jit=JIT)
    adam = keras.optimizers.Adam(rate, beta_2=beta, epsilon=epsilon)
    steps = moved(name, arguments, adam, jit=JIT)
    assert np.abs(gradients[0]).max() > 0.01
    for g, step in zip(gradients, steps, strict=True):
        expected = rate * g / (np.abs(g) + epsilon / (1 - beta) ** 0.5)
        np.testing.assert_allclose(step, expected, atol=2e-5)


@each_form
def test_an_overflow_is_seen_and_skipped(name, arguments):
    """Two passes list each row twice, one of them may be finite."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        keras.utils.set_random_seed(0)
        ids = keras.Input((7,), dtype="int32")
        x = layers.Embedding(9, 8, name="tokens")(ids)
        x = layers.GlobalAveragePooling1D()(x)
        x = layers.BatchNormalization()(x)
        model = keras.Model(ids, layers.Dense(3, dtype="float32")(x))
    finally:
        keras.config.set_dtype_policy(before)
    start = [w.copy() for w in model.get_weights()]
    net = getattr(training, name)(model, **arguments)
    x, y = integers(7, 16, 7) + 1, integers(3, 16)
    adam = keras.optimizers.Adam()
    # at first the scale is too large for float16: some steps are skipped
    optimizer = keras.optimizers.LossScaleOptimizer(adam, 2.0**22)
    jit = keras.config.backend() == "jax"
    history = fit_once(net, optimizer, x, y, jit, batch_size=4, epochs=5)
    steps = int(to_numpy(adam.iterations))
    assert 0 < steps < 20 and to_numpy(optimizer.dynamic_scale) < 2.0**22
    assert np.isfinite(history["loss"]).all()
    for w, b in zip(model.get_weights(), start, strict=True):
        assert np.isfinite(w).all() and (w != b).any()


@pytest.fixture
def float64():
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    with contextlib.ExitStack() as stack:
        if keras.config.backend() == "jax":
            import jax

            stack.enter_context(jax.enable_x64(True))
        yield
    keras.config.set_floatx(before)
    keras.config.set_dtype_policy(before)


@each_form
def test_float64_is_computed_in_float64(name, arguments, float64):
    """The same step from weights rounded to float32 is near, not equal."""
    steps = moved(name, arguments, keras.optimizers.SGD(1.0))
    assert all(step.dtype == "float64" for step in steps)
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    low = moved(name, arguments, keras.optimizers.SGD(1.0))
    # what is drawn may depend on the dtype
    same = name not in ("NoiseInjection", "VirtualAdversarialTraining")
    for a, b in zip(steps, low, strict=True):
        assert np.isfinite(a).all()
        if same:
            np.testing.assert_allclose(a, b, atol=1e-5)


@each_wrapper
def test_numpy_scalars_are_taken_and_written_as_json(name):
    arguments = {
        "AdversarialTraining": {
            "epsilon": np.float32(0.5),
            "steps": np.int64(2),
            "include_clean": np.bool_(True),
            "step_size": np.float64(0.25),
        },
        "Flooding": {"level": np.float32(0.5)},
        "GradientPenalty": {"epsilon": np.float32(0.5)},
        "ImplicitGradientRegularization": {"rate": np.float32(0.5)},
        "NoiseInjection": {
            "stddev": np.float32(0.5),
            "perturb": "weights",
            "seed": np.int64(3),
        },
        "VirtualAdversarialTraining": {
            "epsilon": np.float32(0.5),
            "xi": np.float32(0.5),
            "iters": np.int32(2),
            "weight": np.float32(0.5),
            "from_logits": np.bool_(True),
            "binary": np.bool_(False),
            "seed": np.int64(3),
        },
    }[name]
    config = getattr(training, name)(classifier(), **arguments).get_config()
    for key, value in arguments.items():
        assert type(config[key]) in (bool, int, float, str), key
        assert config[key] == value
    json.dumps(config)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("NoiseInjection", {"perturb": "weights"}),
        ("VirtualAdversarialTraining", {"from_logits": True}),
    ],
)
@pytest.mark.parametrize("seed", [2**40, -1, 0.5, True, "0"])
def test_seeds_that_a_backend_cannot_take_are_rejected(name, arguments, seed):
    with pytest.raises(ValueError, match="`seed` must be .*Received: seed="):
        getattr(training, name)(classifier(), seed=seed, **arguments)


@each_wrapper
def test_trainable_is_a_flag(name):
    with pytest.raises(ValueError, match="Received: trainable='False'"):
        getattr(training, name)(
            classifier(), trainable="False", **ARGUMENTS.get(name, {})
        )


# ---- the same model, for callbacks and files too


@each_wrapper
def test_layers_inputs_and_outputs_are_those_of_the_model(name):
    model, net = wrapped(name)
    assert net.get_layer("tokens") is model.get_layer("tokens")
    assert net.get_layer(index=-1) is model.layers[-1]
    assert [*map(id, net.layers)] == [*map(id, model.layers)]
    for attribute in ("inputs", "outputs"):
        ours, its = getattr(net, attribute), getattr(model, attribute)
        assert len(ours) == 1 and ours[0] is its[0]
    assert net.input is model.input and net.output is model.output
    assert net.output_names == model.output_names
    probe = keras.Model(net.input, net.get_layer("tokens").output)
    assert tuple(probe(data()[0]).shape) == (5, 6, 4)


class Texts(keras.Model):
    """A model that is not functional."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.tokens = layers.Embedding(9, 4, name="tokens")
        self.classes = layers.Dense(3)

    def call(self, ids):
        return self.classes(ops.mean(self.tokens(ids), axis=1))


def subclassed():
    model = Texts()
    model(data()[0])
    return model


def in_a_row():
    return keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(9, 4, name="tokens"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(3),
        ]
    )


@pytest.mark.parametrize("build", [classifier, in_a_row, subclassed])
@pytest.mark.parametrize("compiled", [False, True])
def test_checkpoints_fit_the_model_and_back(build, compiled, tmp_path):
    path, x, y = tmp_path / "best.weights.h5", *data()
    save = keras.callbacks.ModelCheckpoint(path, save_weights_only=True)
    first, second = build(), build()
    wrapper = AdversarialTraining(first, "tokens")
    fit_once(wrapper, keras.optimizers.Adam(0.1), x, y, callbacks=[save])
    assert not first.compiled and not hasattr(first, "optimizer")
    if compiled:  # then the state of the optimizer is there too
        second.compile(keras.optimizers.Adam(0.1), crossentropy())
        second.optimizer.build(second.trainable_variables)
    second.load_weights(path)
    assert_same(second, first)
    if not compiled:
        return
    for v, w in zip(
        second.optimizer.variables, wrapper.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(to_numpy(v), to_numpy(w))
    # and back, from another place
    second.optimizer.iterations.assign(7)
    second.set_weights([w + 1 for w in second.get_weights()])
    second.save_weights(path)
    wrapper.load_weights(path)
    assert_same(first, second)
    assert int(to_numpy(wrapper.optimizer.iterations)) == 7
    assert wrapper.optimizer is not second.optimizer


def test_a_compiled_model_keeps_its_optimizer(tmp_path):
    path, model = tmp_path / "best.weights.h5", classifier()
    model.compile(keras.optimizers.SGD(0.5), crossentropy())
    own = model.optimizer
    wrapper = AdversarialTraining(model, "tokens")
    wrapper.save_weights(path)
    assert model.optimizer is own
    wrapper.compile(keras.optimizers.Adam(0.1), crossentropy())
    wrapper.save_weights(path)
    assert model.optimizer is own


@pytest.mark.parametrize("build", [classifier, in_a_row])
def test_a_whole_wrapper_in_a_file_has_the_weights_of_the_model(
    build, tmp_path
):
    model, other = build(), build()
    wrapper = AdversarialTraining(model, "tokens")
    wrapper.save(tmp_path / "wrapper.keras")
    other.set_weights([0 * w for w in other.get_weights()])
    with warnings.catch_warnings():
        # Keras looks for what it has found elsewhere
        warnings.filterwarnings("ignore", "Skipping nested container")
        other.load_weights(tmp_path / "wrapper.keras")
    assert_same(other, model)
    again = keras.models.load_model(tmp_path / "wrapper.keras")
    assert_same(again.model, model)


# ---- what a step costs


def products(net):
    """How many matrix products a compiled training step has."""
    batch = integers(7, 4, 5), integers(3, 4)
    net.compile(
        keras.optimizers.SGD(0.1),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        run_eagerly=True,
    )
    net.optimizer.build(net.trainable_variables)
    net.evaluate(*batch, verbose=0)  # makes the variables of the metrics
    if keras.config.backend() == "jax":
        import jax

        lists = (
            net.trainable_variables,
            net.non_trainable_variables,
            net.optimizer.variables,
            net.metrics_variables,
        )
        state = tuple([v.value for v in vs] for vs in lists)
        text = jax.jit(net.train_step).lower(state, batch).compile().as_text()
    else:
        import tensorflow as tf

        batch = tuple(map(tf.constant, batch))
        step = tf.function(net.train_step, jit_compile=True)
        text = step.experimental_get_compiler_ir(batch)(stage="optimized_hlo")
    return len(re.findall(r"= \S+ dot\(", text))


def deep():
    ids = keras.Input((5,), dtype="int32")
    x = layers.Flatten()(layers.Embedding(7, 4)(ids))
    for _ in range(2):
        x = layers.Dropout(0.1)(layers.Dense(6, activation="tanh")(x))
    return keras.Model(ids, layers.Dense(3, activation="softmax")(x))


@pytest.mark.skipif(not JIT, reason="XLA merges what is computed twice")
def test_passes_share_what_they_have_in_common():
    # of three layers: forward, by the weights, by the inputs
    assert products(deep()) == 9
    # the pass of Keras is that whose gradient by E is taken
    assert products(AdversarialTraining(deep())) == 9 + 3 + 3
    assert products(GradientPenalty(deep())) <= 2.5 * 9
