"""Article: https://kexue.fm/archives/7466

The acceptance checks are those of VAT: the target carries no gradient, the
loss is not negative, and the power iteration finds the first eigenvector.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops

from su_models.backend import compiled
from su_models.backend import normal as drawn
from su_models.training import VirtualAdversarialTraining
from su_models.training.base import _Start, _Step
from tests.contract.base import JIT, integers, normal, to_numpy
from tests.training.text_classifier import (
    DIM,
    LENGTH,
    VOCABULARY,
    assert_weights,
    classifier,
    crossentropy,
    data,
    reference,
    softmax,
    start,
)

BACKEND = keras.config.backend()
UNLABELED = 7  # texts in a batch


class Batches(keras.utils.PyDataset):
    def __init__(self, *batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, i):
        return self.batches[i]


def unlabeled():
    return integers(VOCABULARY, UNLABELED, LENGTH)[::-1].copy()


def new(model=None, **kwargs):
    kwargs = {"from_logits": True, "seed": 3, **kwargs}
    model = model or classifier()
    if not kwargs["from_logits"] and model.layers[-1].name == "classes":
        probable = layers.Activation("softmax")(model.output)
        model = keras.Model(model.input, probable)
    return VirtualAdversarialTraining(model, **kwargs)


def fit(wrapper, batches=None, jit=False, rate=0.5, metrics=(), **kwargs):
    wrapper.compile(
        keras.optimizers.SGD(rate),
        crossentropy(),
        weighted_metrics=[*metrics],
        jit_compile=jit and JIT,
        run_eagerly=BACKEND == "tensorflow" and not jit,
    )
    if batches is None:
        batches = [(*data(), unlabeled())]
    return wrapper.fit(Batches(*batches), verbose=0, **kwargs).history


def step_of(wrapper, x=None):
    wrapper.compile(loss=crossentropy())
    return _Step(wrapper, *data(), x, _Start(wrapper.model))


def noise(shape, jit=False):
    """What a wrapper of seed 3 draws first: on TensorFlow XLA has its own."""
    words = ops.copy(keras.random.SeedGenerator(3).next())

    def draw(words):
        return drawn(shape, words)

    return to_numpy((compiled(draw) if jit else draw)(words))


def unit(x):
    return x / np.linalg.norm(x)


def entropy(p):
    return -(p * np.log(p)).sum(-1).mean()


def divergence(table, weights, p):
    """KL(p ‖ f(u; E)), and its gradients for a p that is constant."""
    loss, gradients, _ = reference((table, *weights), unlabeled(), p)
    return loss - entropy(p), gradients


def predicted():
    table, w, b = start()
    return softmax(table[unlabeled()].mean(1) @ w + b)


def worst(iters, epsilon=0.9, xi=0.7, jit=False):
    """The article's algorithm, on the table."""
    table, *weights = start()
    u = noise(table.shape, jit)
    for _ in range(iters):
        u = divergence(table + xi * unit(u), weights, predicted())[1][0]
    return epsilon * unit(u)


# ---- the loss of a step


@pytest.mark.parametrize("iters", [0, 1, 2])
def test_the_movement_is_the_articles(iters):
    wrapper = new(epsilon=0.9, xi=0.7, iters=iters)
    step = step_of(wrapper)
    target = step.predict(unlabeled())
    (delta,) = wrapper._worst(step, unlabeled(), target)
    np.testing.assert_allclose(to_numpy(delta), worst(iters), atol=1e-5)


@pytest.mark.parametrize("jit", sorted({False, JIT}))
def test_the_target_carries_no_gradient(jit):
    """A step descends the loss and the divergence from a constant."""
    model = classifier()
    wrapper = new(model, epsilon=0.9, xi=0.7, iters=2, weight=0.6)
    history = fit(wrapper, jit=jit)
    table, *weights = start()
    loss, labeled, _ = reference(start(), *data())
    delta = worst(2, jit=jit)
    kl, moved = divergence(table + delta, weights, predicted())
    gradients = [g + 0.6 * h for g, h in zip(labeled, moved, strict=True)]
    expected = [v - 0.5 * g for v, g in zip(start(), gradients, strict=True)]
    assert_weights(model, expected, atol=1e-5)
    assert history["loss"] == [pytest.approx(loss + 0.6 * kl, abs=1e-5)]
    # and it is not what a target with a gradient would give
    assert np.abs(0.5 * 0.6 * moved[1]).max() > 1e-3


@pytest.mark.parametrize("perturb", ["weights", "outputs"])
def test_the_divergence_is_not_negative_and_0_without_movement(perturb):
    for model in (classifier(), classifier(1, 0.5)):  # with dropout too
        for epsilon, above in ((0.0, False), (0.5, True)):
            wrapper = new(model, epsilon=epsilon, perturb=perturb)
            step = step_of(wrapper)
            target = step.predict(unlabeled())
            deltas = wrapper._worst(step, unlabeled(), target)
            kl = wrapper._moved(step, unlabeled(), target, deltas)
            assert (to_numpy(kl) > 1e-4) == above
            assert to_numpy(kl) > -1e-7


def test_the_power_iteration_finds_the_first_eigenvector():
    """Of Fisher's matrix, the Hessian of the divergence, Eq. (17)."""
    wrapper = new(perturb="outputs", xi=0.03, iters=60, epsilon=1.0)
    step = step_of(wrapper)
    (delta,) = wrapper._worst(step, unlabeled(), step.predict(unlabeled()))
    delta = to_numpy(delta)
    _, w, _ = start()
    for p, d in zip(predicted(), delta, strict=True):
        # logits are W'(mean of d): the mean takes all positions alike
        fisher = w @ (np.diag(p) - np.outer(p, p)) @ w.T
        fisher = np.kron(np.ones((LENGTH, LENGTH)) / LENGTH**2, fisher)
        values, vectors = np.linalg.eigh(fisher)
        first = vectors[:, -1].reshape(LENGTH, DIM)
        assert np.linalg.norm(d) == pytest.approx(1.0, abs=1e-6)
        assert abs((first * d).sum()) > 0.999
        assert values[-1] > 1.05 * values[-2]


def test_outputs_are_classes_or_each_its_own():
    """Softmax of two logits, a and 0, is the sigmoid of a."""
    a, b = (normal(5, 2)[:, i : i + 1] for i in range(2))

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    p, q = sigmoid(a), sigmoid(b)
    expected = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean()
    zero = np.zeros_like(a)
    cases = [
        (a, b, True, None),
        (p, q, False, None),
        (np.hstack([a, zero]), np.hstack([b, zero]), True, False),
        (np.hstack([p, 1 - p]), np.hstack([q, 1 - q]), False, None),
        (np.hstack([a, zero]), np.hstack([b, zero]), True, True),
    ]
    for target, moved, from_logits, binary in cases:
        wrapper = new(from_logits=from_logits, binary=binary)
        got = wrapper._divergence(target, moved)
        np.testing.assert_allclose(to_numpy(got), expected, rtol=1e-5)


def test_sure_predictions_are_finite():
    for from_logits, y in (
        (True, [[300.0], [-300.0]]),
        (False, [[1.0], [0.0]]),
    ):
        for binary in (True, False):
            y = np.array(y, "float32")
            target = y if binary else np.hstack([y, y[::-1]])
            loss = new(from_logits=from_logits, binary=binary)._divergence
            for moved in (target, target[::-1].copy()):
                assert np.isfinite(to_numpy(loss(target, moved)))


def regression():
    """x·w + b of two outputs."""
    model = keras.Sequential([keras.Input((3,), name="x"), layers.Dense(2)])
    model.set_weights([normal(3, 2), normal(2)])
    return model


def test_a_regression_moves_by_its_squared_distance():
    """Which is |ε wᵀu|² / 2: the worst u is the first singular vector."""
    x, unlabeled_x, y = normal(5, 3), normal(7, 3), normal(5, 2)
    model = regression()
    w = normal(3, 2).astype("float64")
    wrapper = new(
        model,
        from_logits=False,
        divergence="mse",
        perturb="inputs",
        epsilon=0.5,
        xi=0.1,
        iters=50,
        weight=0.7,
    )
    wrapper.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=False)
    batches = Batches((x, y, unlabeled_x))
    loss = wrapper.fit(batches, verbose=0).history["loss"][0]
    expected = np.square(x @ w + normal(2) - y).mean()
    first = np.linalg.svd(w, compute_uv=False)[0]
    expected += 0.7 * (0.5 * first) ** 2 / 2
    assert loss == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("level", [100.0, 0.5, -3.0])
def test_outputs_that_are_no_probabilities_are_rejected(level):
    ids = keras.Input((7,), dtype="int32")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(50, 8)(ids))
    out = layers.Dense(1, bias_initializer=keras.initializers.Constant(level))
    model = keras.Model(ids, out(x))
    with pytest.raises(ValueError, match='"mse" for a reg.*Received: from_lo'):
        VirtualAdversarialTraining(model)
    VirtualAdversarialTraining(model, divergence="mse")
    VirtualAdversarialTraining(model, from_logits=True)


@pytest.mark.parametrize(
    ("last", "units", "arguments", "match"),
    [
        ("relu", 3, {}, "must return prob.*Received.*activation=relu"),
        ("log_softmax", 3, {}, "must return prob.*Received"),
        ("softmax", 3, {"from_logits": True}, "must return logits.*Received"),
        ("sigmoid", 1, {"from_logits": True}, "must return logits.*Received"),
        ("sigmoid", 3, {}, "`binary` must be True.*Received: binary=None"),
        ("sigmoid", 3, {"binary": False}, "`binary` must.*Received: binary=F"),
        ("softmax", 3, {}, None),
        ("softmax", 3, {"binary": True}, None),
        ("sigmoid", 1, {}, None),
        ("sigmoid", 3, {"binary": True}, None),
        ("log_softmax", 3, {"from_logits": True}, None),
        (ops.softmax, 3, {}, None),  # unknown
    ],
)
def test_the_last_layer_and_the_arguments_agree(last, units, arguments, match):
    x = keras.Input((3,))
    model = keras.Model(x, layers.Dense(units, last)(x))
    arguments = {"perturb": "inputs", **arguments}
    if match is None:
        VirtualAdversarialTraining(model, **arguments)
        return
    with pytest.raises(ValueError, match=match):
        VirtualAdversarialTraining(model, **arguments)


@pytest.mark.parametrize("binary", [True, False])
def test_what_turns_out_to_be_no_probabilities_gives_nan(binary):
    """Of a model that does not tell, as one that is not functional."""
    divergence = new(from_logits=False, binary=binary)._divergence
    sound = np.array([[0.25, 0.75], [0.5, 0.5]], "float32")
    assert np.isfinite(to_numpy(divergence(sound, sound[::-1].copy())))
    for wrong in ([2.0, -1.0], [np.nan, 1.0], [100.0, 3.0]):
        p = sound.copy()
        p[1] = wrong
        assert np.isnan(to_numpy(divergence(p, sound)))
    if not binary:
        many = np.full((2, 4), 0.5, "float32")  # they sum to 2
        assert np.isnan(to_numpy(divergence(many, many)))
    half = ops.cast(np.full((2, 256), 1 / 256, "float32"), "bfloat16")
    assert np.isfinite(to_numpy(divergence(half, half)))


@pytest.mark.parametrize("jit", sorted({False, JIT}))
def test_images_move_by_themselves(jit):
    x, unlabeled_x, y = normal(5, 4), normal(7, 4)[::-1].copy(), integers(3, 5)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    w = normal(4, 3)
    model.set_weights([w, normal(3)])
    wrapper = new(model, perturb="inputs", epsilon=0.4, xi=0.03, iters=60)
    step = _Step(wrapper, x, y, unlabeled_x, _Start(model))
    wrapper.compile(loss=crossentropy())
    target = step.predict(unlabeled_x)
    (delta,) = wrapper._worst(step, unlabeled_x, target)
    for p, d in zip(softmax(to_numpy(target)), to_numpy(delta), strict=True):
        fisher = w @ (np.diag(p) - np.outer(p, p)) @ w.T
        first = np.linalg.eigh(fisher)[1][:, -1]
        assert np.linalg.norm(d) == pytest.approx(0.4, abs=1e-6)
        assert abs(first @ d) > 0.999 * 0.4
    history = fit(wrapper, [(x, y, unlabeled_x)], jit=jit)
    assert np.isfinite(history["loss"]).all()


def test_masked_steps_of_inputs_do_not_move():
    steps = keras.Input((None, 4))
    h = layers.LSTM(5)(layers.Masking()(steps))
    model = keras.Model(steps, layers.Dense(3)(h))
    x = normal(5, 7, 4)
    x[:, 4:] = 0
    for iters in (0, 2):
        wrapper = new(model, perturb="inputs", epsilon=0.4, iters=iters)
        wrapper.compile(loss=crossentropy())
        step = _Step(wrapper, x, integers(3, 5), None, _Start(model))
        (delta,) = wrapper._worst(step, x, step.predict(x))
        delta = to_numpy(delta)
        assert (delta[:, 4:] == 0).all()
        norms = np.sqrt(np.square(delta).sum((1, 2)))
        np.testing.assert_allclose(norms, 0.4, atol=1e-6)


# ---- in `fit`


def test_training_on_two_batches_differs_from_the_labeled_alone():
    model, plain = classifier(), classifier()
    for net, weight in ((model, 5.0), (plain, 0.0)):
        fit(new(net, weight=weight), [(*data(), unlabeled())] * 3)

    def kl(net):
        table, *weights = net.get_weights()
        p = softmax(table[unlabeled()].mean(1) @ weights[0] + weights[1])
        q = table + 0.9 * unit(noise(table.shape))
        return divergence(q, weights, p)[0]

    assert kl(model) < 0.8 * kl(plain)


@pytest.mark.parametrize("perturb", ["weights", "outputs"])
def test_metrics_see_the_labeled_part_and_validation_has_no_third(perturb):
    x, y = data()
    model = classifier()
    wrapper = new(model, perturb=perturb)
    history = fit(
        wrapper,
        metrics=["accuracy"],
        rate=0.0,
        validation_data=(x, y),
    )
    table, w, b = start()
    correct = (table[x].mean(1) @ w + b).argmax(-1) == y
    assert history["accuracy"] == [pytest.approx(correct.mean())]
    assert history["val_accuracy"] == history["accuracy"]
    loss = reference(start(), x, y)[0]
    assert history["val_loss"] == [pytest.approx(loss, rel=1e-5)]
    assert history["loss"][0] > loss + 1e-4
    again = wrapper.evaluate(Batches((x, y, unlabeled())), verbose=0)
    assert again[0] == pytest.approx(loss, rel=1e-5)


def test_a_batch_without_a_third_part_is_its_own():
    x, y = data()
    pairs, triples = classifier(), classifier()
    fit(new(pairs), [(x, y)])
    fit(new(triples), [(x, y, x)])
    assert_weights(pairs, triples.get_weights(), atol=1e-6)


def test_several_inputs_and_outputs():
    one = keras.Input((4,), dtype="int32", name="one")
    two = keras.Input((2,), name="two")
    x = layers.Flatten()(layers.Embedding(9, 4)(one))
    x = layers.Concatenate()([x, two])
    outputs = layers.Dense(1, "sigmoid")(x), layers.Dense(3, "softmax")(x)
    model = keras.Model({"one": one, "two": two}, list(outputs))
    wrapper = new(model, from_logits=False, perturb="outputs")
    wrapper.compile(
        "sgd",
        ["binary_crossentropy", "sparse_categorical_crossentropy"],
        run_eagerly=BACKEND == "tensorflow",
    )

    def inputs(n):
        return {"one": integers(9, n, 4), "two": normal(n, 2)}

    y = integers(2, 5, 1).astype("float32"), integers(3, 5)
    before = model.get_weights()[0].copy()
    history = wrapper.fit(Batches((inputs(5), y, inputs(7))), verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    after = model.get_weights()[0]
    assert (after != before).any(axis=1)[inputs(7)["one"]].all()


def test_masked_positions_do_not_count():
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(ids)
    model = keras.Model(ids, layers.Dense(3)(x))
    wrapper = new(model, perturb="outputs")
    step = step_of(wrapper)
    text = integers(8, 4, 5) + 1
    padded = np.pad(text, ((0, 0), (0, 3)))
    values = []
    for u in (text, padded):
        deltas = [ops.convert_to_tensor(np.ones((*u.shape, 4), "float32"))]
        target = step.predict(u)
        values.append(to_numpy(wrapper._moved(step, u, target, deltas)))
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    assert values[0] > 1e-3


def test_the_seed_decides_the_noise():
    first, same, other = (
        fit(new(seed=seed), [(*data(), unlabeled())] * 2)["loss"]
        for seed in (3, 3, 4)
    )
    assert first == same and first != other


# ---- refusals


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"epsilon": -1.0}, "Received: epsilon=-1.0"),
        ({"xi": 0.0}, "> 0. Received: xi=0.0"),
        ({"iters": -1}, "Received: iters=-1"),
        ({"iters": 0.5}, "Received: iters=0.5"),
        ({"iters": None}, "Received: iters=None"),
        ({"from_logits": "no"}, "Received: from_logits='no'"),
        ({"binary": "no"}, "Received: binary='no'"),
        ({"weight": -1}, "Received: weight=-1"),
        (
            {"perturb": "batch"},
            "'inputs', 'outputs', 'weights'.*Received: perturb='batch'",
        ),
        ({"embedding": "words"}, "which are: tokens. Received"),
        ({"divergence": "l2"}, "'kl', 'mse'.*Received: divergence='l2'"),
        ({"divergence": "mse"}, "`from_logits` is for .*Received: from_log"),
        (
            {"divergence": "mse", "from_logits": False, "binary": True},
            "`binary` is for .*Received: binary=True",
        ),
        ({"inputs": "ids"}, "`inputs` is for .*Received: inputs='ids'"),
    ],
)
def test_bad_arguments_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        new(**arguments)


@pytest.mark.parametrize("from_logits", [False, True])
def test_wrapper_and_loss_agree_on_logits(from_logits, tmp_path):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    with pytest.raises(ValueError, match="agree.*a loss with from_logits"):
        new(from_logits=not from_logits).compile("sgd", loss)
    wrapper = new(from_logits=from_logits)
    wrapper.compile("sgd", loss)
    wrapper.save(tmp_path / "wrapper.keras")
    again = keras.models.load_model(tmp_path / "wrapper.keras")
    assert again.compiled and again.loss.from_logits == from_logits


def test_weights_of_classes_are_no_inputs():
    with pytest.raises(ValueError, match="inputs like the first. Received"):
        fit(
            new(),
            [data()],
            class_weight={0: 1.0, 1: 2.0, 2: 1.0},
        )
