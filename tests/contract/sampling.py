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


def check_sampler(cls, init, noise, denoiser=None):
    """Checks a sampler on a `keras.Model` and on a callable of the same.

    Or on what it is made for, if that is no network: `denoiser`.
    """
    net = _small_network(noise)
    denoisers = [net, lambda x, t: net([x, t])] if denoiser is None else []
    denoisers = denoisers or [denoiser]
    clean = to_numpy(cls(**arguments(init))(denoisers[0], noise, seed=3))
    assert clean.shape == noise.shape and np.isfinite(clean).all()
    for more in ({}, {"progress": True}):
        for one in denoisers:
            again = cls(**arguments(init))(one, noise, seed=3, **more)
            assert_equal([[to_numpy(again)]], [[clean]])
    sampler, one = cls(**arguments(init)), denoisers[0]
    if sampler.is_random:
        assert (to_numpy(sampler(one, noise, seed=4)) != clean).any()
    # any number of images, of any size that the denoiser takes
    some = to_numpy(sampler(one, noise[:2], seed=3))
    assert some.shape == noise[:2].shape and np.isfinite(some).all()
    for dtype in ("bfloat16", "float16"):
        low = sampler(one, ops.cast(noise, dtype), seed=3)
        assert dtype_of(low) == "float32" and np.isfinite(to_numpy(low)).all()
    if hasattr(sampler, "sample"):
        drawn = sampler.sample(net, 5, seed=3, batch_size=2)
        fewer = sampler.sample(net, 3, seed=3, batch_size=2)
        assert drawn.shape == (5, *noise.shape[1:])
        assert_equal([[drawn[:3]]], [[fewer]])
    for wrong in (noise[:0], noise.astype("int32")):
        with pytest.raises(ValueError, match="Received: "):
            sampler(one, wrong)
    for wrong in (3, None):
        with pytest.raises(ValueError, match="Received: "):
            sampler(wrong, noise)
    for wrong in ({"seed": -1}, {"seed": 2**31}, {"progress": "no"}):
        with pytest.raises(ValueError, match="Received: "):
            sampler(one, noise, **wrong)


def _small_network(noise):
    """Returns a model of `[x, t]` that adds something to x."""
    inputs = keras.Input(noise.shape[1:]), keras.Input((), dtype="int32")
    steps = ops.cast(inputs[1], "float32")[:, None]
    shift = keras.layers.Dense(noise.shape[-1])(steps)
    shift = ops.reshape(shift, (-1, *[1] * (noise.ndim - 2), noise.shape[-1]))
    return keras.Model(list(inputs), keras.layers.Add()([inputs[0], shift]))
