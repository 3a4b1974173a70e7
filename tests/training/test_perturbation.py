"""What is added to embeddings: where it enters, and its norm."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from su_models.layers import PositionEmbedding
from su_models.training.perturbation import _Outputs, _unit, _Weights, _within
from su_models.training.wrapper import _Start, _Step, _TrainingWrapper
from tests.contract import integers, normal, to_numpy
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


class Plain(_TrainingWrapper):
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
