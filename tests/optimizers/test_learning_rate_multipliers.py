"""Article: https://kexue.fm/archives/6418"""

import keras
import numpy as np
import pytest
from keras import ops
from keras.optimizers import SGD, Adam, AdamW

from su_models.optimizers import (
    LazyOptimizer,
    LearningRateMultipliers,
    Lookahead,
)
from tests.optimizers.sparse import (
    DIM,
    JITS,
    START,
    fit,
    gradient,
    lookup,
    near,
    table,
    to_numpy,
)

MULTIPLIERS = {"old/": 0.25, "kernel$": 3.0}


def variables():
    """Returns the kernel and the bias of two layers."""
    layers = [keras.layers.Dense(2, name=name) for name in ("old", "new")]
    for layer in layers:
        layer.build((3, 4))
    found = [v for layer in layers for v in layer.weights]
    for i, v in enumerate(found):
        v.assign(np.random.default_rng(i).normal(size=v.shape))
    return found


def step(optimizer, found, n=3):
    for i in range(n):
        grads = [np.random.default_rng(i).normal(size=v.shape) for v in found]
        optimizer.apply([ops.array(g, "float32") for g in grads], found)
    return [to_numpy(v) for v in found]


@pytest.mark.parametrize(
    "name", ["SGD", "Adam", "Nadam", "RMSprop", "Lion", "Adagrad", "Lamb"]
)
def test_each_variable_has_its_own_rate(name):
    """0.25 · 3 for the old kernel, 0.25, 3, and 1 for the new bias."""
    kwargs = {"momentum": 0.9} if name == "SGD" else {}
    cls = getattr(keras.optimizers, name)
    inner = cls(0.1, weight_decay=0.1, **kwargs)
    got = step(LearningRateMultipliers(inner, MULTIPLIERS), variables())
    for i, factor in enumerate([0.75, 0.25, 3.0, 1.0]):
        plain = cls(0.1 * factor, weight_decay=0.1, **kwargs)
        # Keras computes Nadam on PyTorch in another order when fused
        near(got[i : i + 1], step(plain, variables())[i : i + 1], 1e-5)


def test_a_parameter_times_lambda_is_the_article_form():
    """θ = λφ: Adam moves θ by λα when it moves φ by α."""
    optimizer = LearningRateMultipliers(Adam(0.1, epsilon=1e-12), {"": 0.2})
    theta, phi = keras.Variable(2.0), keras.Variable(2.0 / 0.2)
    adam = Adam(0.1, epsilon=1e-12)
    for _ in range(5):
        optimizer.apply([2 * ops.convert_to_tensor(theta)], [theta])
        adam.apply([2 * 0.2 * 0.2 * ops.convert_to_tensor(phi)], [phi])
    near([theta], [0.2 * to_numpy(phi)])


@pytest.mark.parametrize("jit", JITS)
def test_in_fit_and_with_a_schedule(jit):
    decay = keras.optimizers.schedules.InverseTimeDecay(0.5, 5, 1.0)
    slower = keras.optimizers.schedules.InverseTimeDecay(0.05, 5, 1.0)
    inner = AdamW(decay, weight_decay=0.1)
    got = fit(lookup(LearningRateMultipliers(inner, {"token": 0.1}), jit))
    want = fit(
        lookup(
            LearningRateMultipliers(
                inner := AdamW(slower, weight_decay=0.1), {"token": 1.0}
            ),
            jit,
        )
    )
    near([got], [want])
    assert np.abs(got - START).max() > 0.01


@pytest.mark.parametrize("wrap", [LazyOptimizer, Lookahead])
def test_nests_both_ways(wrap):
    def slow(optimizer):
        return LearningRateMultipliers(optimizer, {"embeddings": 0.1})

    def adam(rate):
        return AdamW(rate, weight_decay=0.1)

    results = []
    for optimizer in (
        slow(wrap(adam(0.5))),
        wrap(slow(adam(0.5))),
        wrap(adam(0.05)),
    ):
        weight = table()
        for ids in ([1, 1, 4], [4, 5], [1, 5]):
            g = np.ones((len(ids), DIM)) * (1 + np.arange(DIM))
            if wrap is Lookahead:  # which does not sum
                ids, g = np.unique(ids), g[: len(np.unique(ids))]
            optimizer.apply([gradient(ids, g)], [weight])
        results.append(to_numpy(weight))
    near(results[:2], [results[2]] * 2)
    assert np.abs(results[2] - START).max() > 0.05


@pytest.mark.parametrize(
    "multipliers",
    [
        {},
        None,
        [1.0],
        {"a": 0.0},
        {"a": -1},
        {"a": True},
        {"a": float("nan")},
        {"a": "1"},
        {"(": 1.0},
        {3: 1.0},
    ],
)
def test_multipliers_are_numbers_by_pattern(multipliers):
    with pytest.raises(ValueError, match="Received: multipliers="):
        LearningRateMultipliers(SGD(), multipliers)


def test_a_pattern_that_matches_nothing_lists_the_paths():
    optimizer = LearningRateMultipliers(SGD(), {"odl": 0.1})
    with pytest.raises(ValueError, match=r"'old/kernel'.*'odl'"):
        optimizer.build(variables())
    assert not optimizer.built


def test_twice_is_refused():
    """Not multiplied by one of both, silently."""
    inner = LearningRateMultipliers(SGD(0.1), {"a": 0.5})
    optimizer = LearningRateMultipliers(inner, {"a": 0.5})
    with pytest.raises(ValueError, match="twice"):
        optimizer.apply([ops.ones(())], [keras.Variable(1.0, name="a")])


def test_arguments_of_the_inner_optimizer_are_refused():
    with pytest.raises(ValueError, match="Received: learning_rate=0.1"):
        LearningRateMultipliers(SGD(), {"a": 1.0}, learning_rate=0.1)
