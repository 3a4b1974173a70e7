"""Deltas: where they are added, and their norm."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from su_models.layers import PositionEmbedding
from su_models.training.base import TrainingWrapper, _Start, _Step
from su_models.training.perturbation import (
    _Inputs,
    _Outputs,
    _unit,
    _Weights,
    _within,
    perturbation,
)
from tests.contract.base import integers, normal, to_numpy
from tests.training.composite import composite
from tests.training.text_classifier import (
    BATCH,
    DIM,
    LENGTH,
    VOCABULARY,
    classifier,
    crossentropy,
    data,
    reference,
    start,
)

tensor = keras.ops.convert_to_tensor


class Plain(TrainingWrapper):
    def _training_loss(self, loss, step):
        return loss


def step_of(model, x=None, y=None):
    wrapper = Plain(model)
    wrapper.compile(loss=crossentropy())
    if x is None:
        x, y = data()
    return _Step(wrapper, x, y, None, _Start(model))


# ---- where it enters


def test_slices_and_tables_have_the_gradients_of_numpy():
    """An occurrence by itself, or added up: tokens repeat here."""
    model = classifier()
    _, (by_table, *_), slices = reference(start(), *data())
    for kind, expected in ((_Outputs, slices), (_Weights, by_table)):
        perturbation = kind(model)
        step = step_of(model)
        zeros = perturbation.zeros(step, step.x)
        _, (g,) = step.value_and_gradient(
            lambda *d, p=perturbation, s=step: p.loss(s, d), zeros
        )
        np.testing.assert_allclose(to_numpy(g), expected, atol=1e-6)
    assert not np.isclose(np.square(slices).sum(), np.square(by_table).sum())


def test_it_is_added_to_the_tables_or_to_what_they_give():
    model = classifier()
    step = step_of(model)
    x, _ = data()
    table, w, b = start()
    delta = normal(VOCABULARY, DIM)
    logits = to_numpy(_Weights(model).predict(step, x, [tensor(delta)]))
    expected = (table + delta)[x].mean(1) @ w + b
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    delta = normal(BATCH, LENGTH, DIM)
    logits = to_numpy(_Outputs(model).predict(step, x, [tensor(delta)]))
    expected = (table[x] + delta).mean(1) @ w + b
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_frozen_embeddings_are_perturbed_too():
    model = classifier()
    model.get_layer("tokens").trainable = False
    perturbation, step = _Weights(model), step_of(model)
    zeros = perturbation.zeros(step, step.x)
    _, (g,) = step.value_and_gradient(
        lambda *d: perturbation.loss(step, d), zeros
    )
    expected = reference(start(), *data())[1][0]
    np.testing.assert_allclose(to_numpy(g), expected, atol=1e-6)


def inner():
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True, name="tokens")(ids)
    return keras.Model(ids, layers.Dropout(0.3, seed=1)(x), name="inner")


def nested():
    net, ids = inner(), keras.Input((6,), dtype="int32")
    x = layers.GlobalAveragePooling1D()(net(ids))
    return keras.Model(ids, layers.Dense(3)(x))


def shared():
    """A table that is used twice, once for the reversed text."""
    table = layers.Embedding(9, 4, name="tokens")
    ids = keras.Input((6,), dtype="int32")
    x = layers.Add()([table(ids), table(keras.ops.flip(ids, 1))])
    return keras.Model(ids, layers.Dense(3)(layers.Flatten()(x)))


def tied():
    table = layers.ReversibleEmbedding(9, 4, mask_zero=True, name="tokens")
    ids = keras.Input((6,), dtype="int32")
    x = layers.GlobalAveragePooling1D()(table(ids))
    return keras.Model(ids, table(x, reverse=True))


def in_a_row():
    tokens = layers.Embedding(9, 4, mask_zero=True, name="tokens")
    return keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            tokens,
            layers.GlobalAveragePooling1D(),
            layers.Dense(3),
        ]
    )


@pytest.mark.parametrize(
    ("build", "lookups"),
    [(nested, 1), (shared, 2), (tied, 1), (in_a_row, 1)],
)
def test_nothing_added_changes_nothing(build, lookups):
    model = build()
    config, weights = model.to_json(), [id(w) for w in model.weights]
    perturbation = _Outputs(model, "tokens")
    assert json.loads(model.to_json()) == json.loads(config)
    assert [id(w) for w in model.weights] == weights
    x = integers(9, 5, 6)
    x[:, -2:] = 0
    step = step_of(model, x, integers(3, 5))
    zeros = perturbation.zeros(step, x)
    assert [tuple(z.shape) for z in zeros] == [(5, 6, 4)] * lookups
    expected = to_numpy(step.predict(x))
    same = to_numpy(perturbation.predict(step, x, zeros))
    np.testing.assert_allclose(same, expected, atol=1e-6)
    # masked positions do not count, all others do
    for i in range(lookups):
        for n, counts in ((0, True), (5, build is shared)):
            deltas = [np.zeros((5, 6, 4), "float32") for _ in zeros]
            deltas[i][:, n] = 1.0
            moved = to_numpy(
                perturbation.predict(step, x, [*map(tensor, deltas)])
            )
            assert (np.abs(moved - expected).max() > 1e-3) == counts


def test_inputs_may_be_given_by_name():
    model = classifier()
    step, (x, _) = step_of(model), data()
    perturbation = _Outputs(model)
    deltas = perturbation.zeros(step, {"ids": x})
    np.testing.assert_allclose(
        to_numpy(perturbation.predict(step, {"ids": x}, deltas)),
        to_numpy(model(x)),
        atol=1e-6,
    )


class OwnCall(keras.Model):
    def call(self, inputs, training=None):
        return 2.0 * super().call(inputs, training=training)


def test_inputs_by_name_may_be_more_than_are_asked_for():
    ids = keras.Input((LENGTH,), dtype="int32", name="ids")
    x = layers.Embedding(VOCABULARY, DIM, name="tokens")(ids)
    x = layers.GlobalAveragePooling1D()(x)
    model = keras.Model({"ids": ids}, layers.Dense(3)(x))
    x, y = data()
    perturbation = _Outputs(model)
    step = step_of(model, {"ids": x, "segments": x}, y)
    zeros = perturbation.zeros(step, step.x)
    assert [tuple(z.shape) for z in zeros] == [(BATCH, LENGTH, DIM)]


def test_tables_of_positions_are_not_looked_up():
    ids = keras.Input((LENGTH,), dtype="int32")
    x = layers.Embedding(VOCABULARY, DIM, name="tokens")(ids)
    x = PositionEmbedding(LENGTH, name="positions")(x)
    model = keras.Model(ids, layers.GlobalAveragePooling1D()(x))
    x, _ = data()
    perturbation = _Outputs(model)
    step = step_of(model, x)
    assert len(perturbation.zeros(step, step.x)) == 1
    with pytest.raises(ValueError, match="which are: tokens. Received"):
        _Outputs(model, "positions")
    shapes = [tuple(v.shape) for v in _Weights(model).variables]
    assert shapes == [(VOCABULARY, DIM), (LENGTH, DIM)]


def test_a_functional_model_with_a_call_of_its_own_is_refused():
    plain = classifier()
    model = OwnCall(plain.inputs, plain.outputs)
    with pytest.raises(ValueError, match="Received: model=<OwnCall"):
        _Outputs(model)


# ---- embeddings inside of a layer


def test_a_layer_with_embeddings_inside_is_perturbed_at_its_output():
    model = composite()
    x, y = integers(9, 5, 7), integers(3, 5)
    step = step_of(model, x, y)
    rows = model.get_layer("composite")(x)
    for names, count in (("composite", 1), (["composite", "more"], 2)):
        moves = _Outputs(model, names)
        zeros = moves.zeros(step, x)
        assert [tuple(z.shape) for z in zeros] == [(5, 7, 4)] * count
        same = to_numpy(moves.predict(step, x, zeros))
        np.testing.assert_allclose(same, to_numpy(model(x)), atol=1e-6)
        delta = normal(5, 7, 4)
        deltas = [tensor(delta), *zeros[1:]]
        moved = to_numpy(moves.predict(step, x, deltas))
        sums = to_numpy(rows) + to_numpy(model.get_layer("more")(x)) + delta
        expected = np.tanh(sums).mean(1)
        expected = to_numpy(model.layers[-1](expected))
        np.testing.assert_allclose(moved, expected, atol=1e-5)


def test_its_tables_are_found_by_their_own_names():
    model = composite()
    shapes = [tuple(v.shape) for v in _Weights(model, "tokens").variables]
    assert shapes == [(9, 4)]
    assert len(_Weights(model).variables) == 3


@pytest.mark.parametrize("embedding", [None, "tokens", ["tokens", "places"]])
def test_what_is_inside_is_told_with_what_works(embedding):
    with pytest.raises(ValueError) as error:
        _Outputs(composite(more=False), embedding)
    message = str(error.value)
    assert "'tokens', 'places' inside of 'composite'" in message
    assert 'perturb="weights"' in message
    assert message.endswith(f"Received: embedding={embedding!r}")


class Pair(layers.Layer):
    """Embeddings that are returned beside something else."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.tokens = layers.Embedding(9, 4, name="tokens")

    def call(self, ids):
        return self.tokens(ids), ids


def test_a_layer_that_returns_more_cannot_be_perturbed():
    ids = keras.Input((7,), dtype="int32")
    x, _ = Pair(name="pair")(ids)
    model = keras.Model(ids, layers.GlobalAveragePooling1D()(x))
    with pytest.raises(ValueError, match="one tensor.*Received: 'pair'"):
        _Outputs(model, "pair")


# ---- inputs


def two_inputs():
    """A linear layer of two inputs of floats, beside one of numbers."""
    ids = keras.Input((2,), dtype="int32", name="ids")
    image = keras.Input((2, 2, 1), name="image")
    features = keras.Input((3,), name="features")
    x = [layers.Embedding(9, 4)(ids), layers.Flatten()(image), features]
    x[0] = layers.Flatten()(x[0])
    y = layers.Dense(3, name="out")(layers.Concatenate()(x))
    inputs = {"ids": ids, "image": image, "features": features}
    return keras.Model(inputs, y)


def batch_of_two():
    return {
        "ids": integers(9, 5, 2),
        "image": normal(5, 2, 2, 1),
        "features": normal(5, 3)[::-1].copy(),
        "not asked for": normal(5, 1),
    }


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (None, ["features", "image"]),
        ("image", ["image"]),
        (["image", "features"], ["features", "image"]),
    ],
)
def test_inputs_that_are_floats_are_moved(names, chosen):
    model, x = two_inputs(), batch_of_two()
    step = step_of(model, x, integers(3, 5))
    moves = _Inputs(model, names)
    zeros = moves.zeros(step, x)
    assert [tuple(z.shape) for z in zeros] == [x[k].shape for k in chosen]
    same = to_numpy(moves.predict(step, x, zeros))
    asked = {k: x[k] for k in ("ids", "image", "features")}
    np.testing.assert_allclose(same, to_numpy(model(asked)), atol=1e-6)
    deltas = [normal(*z.shape)[::-1].copy() for z in zeros]
    moved = to_numpy(moves.predict(step, x, [*map(tensor, deltas)]))
    for key, delta in zip(chosen, deltas, strict=True):
        asked[key] = asked[key] + delta
    np.testing.assert_allclose(moved, to_numpy(model(asked)), atol=1e-5)
    loss = to_numpy(moves.loss(step, [*map(tensor, deltas)]))
    expected = to_numpy(crossentropy()(step.y, moved))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_padded_steps_are_not_moved():
    """So that masks, and the norm of a sample, are those of its steps."""
    x = keras.Input((None, 3))
    y = layers.GlobalAveragePooling1D()(layers.Masking()(x))
    model = keras.Model(x, layers.Dense(3)(y))
    steps = normal(5, 7, 3)
    steps[:, 4:] = 0
    step = step_of(model, steps, integers(3, 5))
    moves = _Inputs(model)
    ones = [tensor(np.ones_like(steps))]
    (confined,) = moves.confined(steps, ones)
    np.testing.assert_array_equal(to_numpy(confined), steps != 0)
    moved = to_numpy(moves.predict(step, steps, ones))
    short = to_numpy(model(steps[:, :4] + 1))
    np.testing.assert_allclose(moved, short, atol=1e-5)


class Sum(keras.Model):
    """A model whose inputs Keras does not know before a call."""

    def call(self, inputs):
        flat = keras.tree.flatten(inputs)
        return keras.ops.concatenate(flat, axis=-1)


def test_inputs_of_a_subclassed_model_are_known_by_key():
    model, x = Sum(), {"a": normal(5, 2), "b": normal(5, 1)}
    model(x)
    step = step_of(model, x, integers(3, 5))
    for names, moved in (
        (None, [1, 1, 1]),
        ("a", [1, 1, 0]),
        (["b"], [0, 0, 1]),
    ):
        moves = _Inputs(model, names)
        ones = [keras.ops.ones_like(z) for z in moves.zeros(step, x)]
        change = to_numpy(moves.predict(step, x, ones)) - to_numpy(model(x))
        np.testing.assert_allclose(change, np.tile(moved, (5, 1)), atol=1e-6)
    with pytest.raises(ValueError, match="which are: a, b. Received"):
        _Inputs(model, "c").zeros(step, x)
    pair = [x["a"], x["b"]]
    with pytest.raises(ValueError, match="without names. Received"):
        _Inputs(model, "a").zeros(step, pair)
    assert len(_Inputs(model).zeros(step, pair)) == 2


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (
            {"perturb": "input"},
            "'inputs', 'outputs', 'weights'. Received: pert",
        ),
        ({"perturb": "inputs", "embedding": "a"}, "`embedding` is for.*outp"),
        ({"perturb": "outputs", "inputs": "a"}, "`inputs` is for.*Received"),
        ({"perturb": "weights", "inputs": "a"}, "`inputs` is for.*Received"),
        ({"perturb": "inputs", "inputs": "ids"}, "are: features, image. Rec"),
        ({"perturb": "inputs", "inputs": []}, r"Received: inputs=\[\]"),
        ({"perturb": "inputs", "inputs": 0}, "Received: inputs=0"),
    ],
)
def test_arguments_that_do_not_fit_are_rejected(arguments, match):
    with pytest.raises(ValueError, match=match):
        perturbation(two_inputs(), **arguments)


def test_without_embeddings_inputs_are_recommended():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3)])
    for kind in (_Weights, _Outputs):
        with pytest.raises(ValueError, match='perturb="inputs".*are: none. R'):
            kind(model)
    with pytest.raises(ValueError, match=r"No input is a float.*\['int32'\]"):
        _Inputs(classifier())


# ---- its norm


def test_one_norm_for_all_or_one_for_each_sample():
    a, b = normal(3, 5, 2), normal(3, 4)[::-1].copy()
    for by_sample in (False, True):
        units = [to_numpy(x) for x in _unit([tensor(a), tensor(b)], by_sample)]
        for x, u in zip((a, b), units, strict=True):
            assert (np.sign(x) == np.sign(u)).all()
        squares = [np.square(u).reshape(3, -1).sum(1) for u in units]
        norms = np.sqrt(sum(squares) if by_sample else sum(squares).sum())
        np.testing.assert_allclose(norms, 1.0, atol=1e-6)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_squares_neither_underflow_nor_overflow(size):
    x = normal(3, 4)
    (u,) = _unit([tensor(np.float32(size) * x)], False)
    np.testing.assert_allclose(to_numpy(u), x / np.linalg.norm(x), rtol=1e-5)


@pytest.mark.parametrize("wrong", [0.0, np.inf, np.nan])
def test_zeros_and_what_is_not_finite_give_zeros(wrong):
    x = normal(3, 4)
    x[1] = 0
    x[1, 2] = wrong
    (u,) = _unit([tensor(x)], True)
    assert (to_numpy(u)[1] == 0).all()
    np.testing.assert_allclose(
        np.linalg.norm(to_numpy(u), axis=1), [1, 0, 1], atol=1e-6
    )
    (u,) = _unit([tensor(x)], False)
    assert (to_numpy(u) == 0).all() == bool(wrong)


def test_only_what_is_outside_of_the_ball_is_drawn_back():
    x = normal(3, 4)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    radius = float(np.median(norms))
    (y,) = _within(radius, [tensor(x)], True)
    expected = x * np.minimum(1, radius / norms)
    np.testing.assert_allclose(to_numpy(y), expected, rtol=1e-6)
    (y,) = _within(1.0, [tensor(x)], False)
    np.testing.assert_allclose(to_numpy(y), x / np.linalg.norm(x), rtol=1e-5)
