"""What every sampler promises."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.contract.base import (
    arguments,
    assert_equal,
    dtype_of,
    to_numpy,
)


def check_sampler(cls, init, noise):
    """Checks a sampler on a callable denoiser and on a `keras.Model`."""
    inputs = keras.Input(noise.shape[1:]), keras.Input((), dtype="int32")
    steps = ops.cast(inputs[1], "float32")[:, None]
    shift = keras.layers.Dense(noise.shape[-1])(steps)
    shift = ops.reshape(shift, (-1, *[1] * (noise.ndim - 2), noise.shape[-1]))
    net = keras.Model(list(inputs), keras.layers.Add()([inputs[0], shift]))

    def predict(x, t):
        return net([x, t])

    clean = to_numpy(cls(**arguments(init))(net, noise, seed=3))
    assert clean.shape == noise.shape and np.isfinite(clean).all()
    for more in ({}, {"progress": True}):
        for denoiser in (net, predict):
            again = cls(**arguments(init))(denoiser, noise, seed=3, **more)
            assert_equal([[to_numpy(again)]], [[clean]])
    sampler = cls(**arguments(init))
    if sampler.is_random:
        assert (to_numpy(sampler(net, noise, seed=4)) != clean).any()
    # any number of images, of any size that the denoiser takes
    some = to_numpy(sampler(net, noise[:2], seed=3))
    assert some.shape == noise[:2].shape and np.isfinite(some).all()
    for dtype in ("bfloat16", "float16"):
        low = sampler(net, ops.cast(noise, dtype), seed=3)
        assert dtype_of(low) == "float32" and np.isfinite(to_numpy(low)).all()
    drawn = sampler.sample(net, 5, seed=3, batch_size=2)
    fewer = sampler.sample(net, 3, seed=3, batch_size=2)
    assert drawn.shape == (5, *noise.shape[1:])
    assert_equal([[drawn[:3]]], [[fewer]])
    for wrong in (noise[:0], noise.astype("int32")):
        with pytest.raises(ValueError, match="Received: "):
            sampler(net, wrong)


def check_flow(cls, init, noise):
    """Checks a sampler of a functional of all its particles."""

    def energy(x):
        return ops.mean(ops.square(x - ops.roll(x, 1, axis=0)))

    final = to_numpy(cls(**arguments(init))(energy, noise, seed=3))
    assert final.shape == noise.shape and np.isfinite(final).all()
    flow = cls(**arguments(init))
    for more in ({}, {"progress": True}):
        again = to_numpy(flow(energy, noise, seed=3, **more))
        assert_equal([[again]], [[final]])
    if flow.is_random:
        assert (to_numpy(flow(energy, noise, seed=4)) != final).any()
    for dtype in ("bfloat16", "float16"):
        low = flow(energy, ops.cast(noise, dtype), seed=3)
        assert dtype_of(low) == "float32" and np.isfinite(to_numpy(low)).all()
    for wrong in (noise[:0], noise.astype("int32")):
        with pytest.raises(ValueError, match="Received: "):
            flow(energy, wrong)
