"""Article: https://kexue.fm/archives/6869"""

import keras
import numpy as np
import pytest
from keras import ops
from keras.optimizers import SGD, Adam

from su_models.optimizers import LazyOptimizer, Lookahead, SummedGradients
from tests.optimizers.sparse import (
    BACKEND,
    DIM,
    JITS,
    START,
    fit,
    gradient,
    lookup,
    near,
    summed,
    table,
    to_numpy,
    train,
)

each_jit = pytest.mark.parametrize("jit", JITS)
BETAS = 0.875, 0.96875
# all whose result depends on how a sum is listed, and some others
OPTIMIZERS = {
    "SGD": {"momentum": 0.9},
    "RMSprop": {"centered": True},
    "Adam": {},
    "Adadelta": {},
    "Adagrad": {},
    "Adafactor": {},
    "Adamax": {},
    "Nadam": {},
    "Ftrl": {},
    "Lamb": {},
    "Lion": {},
}


class PlainAdam:
    def __init__(self, rate):
        self.rate, self.t, self.m, self.v = rate, 0, 0.0, 0.0

    def step(self, weight, g):
        self.t += 1
        b, c = BETAS
        self.m = b * self.m + (1 - b) * g
        self.v = c * self.v + (1 - c) * g**2
        rate = self.rate * np.sqrt(1 - c**self.t) / (1 - b**self.t)
        return weight - rate * self.m / (np.sqrt(self.v) + 1e-7)


@each_jit
def test_adam_in_fit_is_the_reference(jit):
    got = fit(lookup(SummedGradients(Adam(0.05, *BETAS)), jit))
    near([got], train(PlainAdam(0.05))[-1:])


@pytest.mark.skipif(
    BACKEND != "tensorflow", reason="other backends sum by themselves"
)
def test_plain_keras_on_tensorflow_goes_wrong():
    """The reason for the class: Σ g_i² in the place of (Σ g_i)²."""
    got = fit(lookup(Adam(0.05, *BETAS)))
    assert np.abs(got - train(PlainAdam(0.05))[-1]).max() > 0.01
    # of a token that comes three times the first step is √3 times too long
    for wrap, length in ((lambda adam: adam, 3**0.5), (SummedGradients, 1.0)):
        weight = table()
        g = gradient([2, 2, 2], np.ones((3, DIM)))
        wrap(Adam(0.1)).apply([g], [weight])
        step = START[2] - to_numpy(weight)[2]
        np.testing.assert_allclose(step, 0.1 * length * np.ones(DIM), rtol=1e-4)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_sum_is_a_sum_however_listed(name):
    cls, kwargs = getattr(keras.optimizers, name), OPTIMIZERS[name]
    ours, plain = SummedGradients(cls(0.1, **kwargs)), cls(0.1, **kwargs)
    weight, twin = table(), table()
    for seed, ids in enumerate(([3, 1, 3, 3], [1, 5, 5, 1], [0, 10, 3, 0])):
        g = np.random.default_rng(seed).normal(size=(4, DIM))
        ours.apply([gradient(ids, g)], [weight])
        plain.apply([ops.convert_to_tensor(summed(ids, g))], [twin])
    near([weight], [to_numpy(twin)])


@pytest.mark.parametrize(
    "clip", [{"clipnorm": 0.5}, {"clipvalue": 0.3}, {"global_clipnorm": 0.5}]
)
def test_clipping_sees_the_sum(clip):
    ours, plain = SummedGradients(SGD(0.1, **clip)), SGD(0.1, **clip)
    weight, twin = table(), table()
    g, ids = np.linspace(-1, 1, 4 * DIM).reshape(4, DIM), [1, 1, 6, 1]
    ours.apply([gradient(ids, g)], [weight])
    plain.apply([ops.convert_to_tensor(summed(ids, g))], [twin])
    near([weight], [to_numpy(twin)])


def test_fixed_loss_scale_but_not_of_what_a_gradient_overwrites():
    ours = SummedGradients(SGD(0.1, loss_scale_factor=4.0))
    weight, scale = table(), keras.Variable(1.0)
    scale.overwrite_with_gradient = True
    g = gradient([1, 1], np.full((2, DIM), 4.0))
    ours.apply([g, ops.array(7.0)], [weight, scale])
    near([to_numpy(weight)[1], scale], [START[1] - 0.2, 7.0])


@each_jit
def test_accumulation(jit):
    inner = Adam(0.05, *BETAS, gradient_accumulation_steps=2)
    got = fit(lookup(SummedGradients(inner), jit), 24)
    near([got], train(PlainAdam(0.05), size=8, n=24)[-1:])


@pytest.mark.parametrize("outside", [False, True])
def test_with_a_lazy_optimizer_it_is_the_lazy_one(outside):
    if outside:
        optimizer = SummedGradients(LazyOptimizer(Adam(0.05)))
    else:
        optimizer = LazyOptimizer(SummedGradients(Adam(0.05)))
    near([fit(lookup(optimizer))], [fit(lookup(LazyOptimizer(Adam(0.05))))])


def test_nests():
    both = [
        Lookahead(SummedGradients(Adam(0.05)), 3),
        SummedGradients(Lookahead(Adam(0.05), 3)),
    ]
    around, inside = (fit(lookup(optimizer)) for optimizer in both)
    near([around], [inside])
    assert np.abs(around - START).max() > 0.01
