"""What every public class of su_models promises, whatever its mathematics.

`CASES` holds one entry a public name; tests/test_contract.py asserts that it
misses none, and runs the check of its room on each. A fault found in one
class becomes a line in a check, so that it is looked for in all.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from su_models.models import build_ddpm
from su_models.sampling import NoiseSchedule

# XLA wherever the backend has it: Keras' "auto" is no jit on a CPU
JIT = keras.config.backend() != "torch"


def normal(*shape):
    """Returns float32 normal numbers, the same at every call."""
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def integers(high, *shape):
    """Returns int32 numbers in 0, ..., high - 1, the same at every call."""
    return np.random.default_rng(0).integers(high, size=shape).astype("int32")


@dataclasses.dataclass(frozen=True)
class Case:
    """How to construct one public name, and what to feed it.

    init: its constructor arguments; a dict, or a function without arguments
        that returns one (needed where an argument is an object with state,
        such as an optimizer or a layer: each check constructs several).
        What is random must be at work: a dropout rate above 0.
    inputs: layers: an array, or a tuple of arrays, passed by position.
        losses: `(y_true, y_pred)`. regularizers: a kernel. models: as layers.
        sampling: the noise x_T.
    shape: layers: the symbolic shape of `inputs` where the default, unknown
        but for the last axis, cannot be built; a tuple of shapes if `inputs`
        is a tuple.
    sequence: layers: True if axis 1 of `inputs` is a sequence. Then a mask
        from upstream has to make padding unseen at the real positions.
    cell: layers: True for a cell, which is checked in a `keras.layers.RNN`.
    by_sample: losses: False if the samples of a batch are not independent.
    targets: models: False if the model adds its own loss.
    step: training: what turns a batch `(x, y)` into that of `fit`.
    """

    init: dict | Callable[[], dict] = dataclasses.field(default_factory=dict)
    inputs: Any = None
    shape: tuple | None = None
    sequence: bool = False
    cell: bool = False
    by_sample: bool = True
    targets: bool = True
    step: Callable | None = None


_SMALL_DDPM = {
    "image_shape": (8, 12, 2),
    "widths": (4,),
    "blocks": 1,
    "num_steps": 12,
    "groups": 2,
    "dropout": 0.1,
}

# One entry a public name, sorted by name. A room that does not exist is empty.
CASES = {
    "layers": {
        "AtrousSelfAttention": Case(
            {
                "num_heads": 3,
                "head_dim": 4,
                "rate": 3,
                "key_dim": 6,
                "output_dim": 5,
                "rotary_base": 500.0,
                "dropout": 0.2,
            },
            normal(2, 7, 8),
            sequence=True,
        ),
        "DeepNorm": Case(
            {"alpha": 1.5, "epsilon": 1e-6},
            (normal(2, 7, 6), normal(2, 7, 6)[::-1].copy()),
        ),
        "FiniteScalarQuantizer": Case({"levels": [5, 4, 2]}, normal(2, 7, 3)),
        "ForwardDiffusion": Case(
            lambda: {"schedule": NoiseSchedule.author(12), "seed": 5},
            normal(4, 3, 5, 2),
        ),
        "GatedAttentionUnit": Case(
            {
                "units": 10,
                "key_dim": 6,
                "rotary_base": 500.0,
                "dropout": 0.2,
            },
            normal(2, 7, 8),
            sequence=True,
        ),
        "GumbelSoftmax": Case(
            {"temperature": 0.7, "hard": True, "seed": 5}, normal(2, 7, 6)
        ),
        "LayerNormalization": Case(
            {"conditional": True, "hidden_units": 3, "epsilon": 1e-6},
            (normal(2, 7, 6), normal(2, 5)),
        ),
        "LocalSelfAttention": Case(
            {
                "num_heads": 3,
                "head_dim": 4,
                "window": 2,
                "key_dim": 6,
                "output_dim": 5,
                "rotary_base": 500.0,
                "dropout": 0.2,
            },
            normal(2, 7, 8),
            sequence=True,
        ),
        "MultiHeadAttention": Case(
            {
                "num_heads": 3,
                "head_dim": 4,
                "key_dim": 6,
                "output_dim": 5,
                "rotary_base": 500.0,
                "normalization": "softmax_plus",
                "dropout": 0.2,
            },
            normal(2, 7, 8),
            sequence=True,
        ),
        "NoisePredictionLoss": Case(
            inputs=(normal(4, 3, 5, 2), normal(4, 3, 5, 2)[::-1].copy())
        ),
        "NormalSampling": Case(
            {"seed": 5}, (normal(2, 7, 6), normal(2, 7, 6)[::-1].copy())
        ),
        "ONLSTM": Case(
            {
                "units": 6,
                "levels": 3,
                "return_distances": True,
                "return_sequences": True,
                "return_state": True,
                "dropconnect": 0.2,
                "recurrent_dropconnect": 0.2,
                "seed": 5,
            },
            normal(2, 7, 5),
            sequence=True,
        ),
        "ONLSTMCell": Case(
            {"units": 6, "levels": 3, "master_input": "paper"},
            normal(2, 7, 5),
            sequence=True,
            cell=True,
        ),
        "PositionEmbedding": Case(
            {"input_dim": 3, "hierarchical": 0.3, "merge_mode": "mul"},
            normal(2, 7, 6),
            sequence=True,
        ),
        # the inputs are a query and a value, of which only lengths count
        "RelativePositionBias": Case(
            {"num_heads": 3, "num_buckets": 4, "max_distance": 3},
            (integers(9, 2, 7), integers(9, 2, 5), integers(9, 2, 7)),
        ),
        "RelativePositionEmbedding": Case(
            {"input_dim": 5, "output_dim": 4},
            (integers(9, 2, 7), integers(9, 2, 5), integers(9, 2, 7)),
        ),
        "RelativeMultiHeadAttention": Case(
            {"num_heads": 6, "head_dim": 4, "num_key_value_heads": 2},
            normal(2, 7, 8),
            sequence=True,
        ),
        "ResidualMultiHeadAttention": Case(
            {
                "num_heads": 3,
                "head_dim": 4,
                "rotary_base": 500.0,
                "dropout": 0.2,
                "accumulate": False,
            },
            normal(2, 7, 8),
            sequence=True,
        ),
        "RotaryEmbedding": Case(
            {"base": 500.0}, normal(2, 7, 3, 6), sequence=True
        ),
        "SparseSelfAttention": Case(
            {
                "num_heads": 3,
                "head_dim": 4,
                "rate": 3,
                "window": 2,
                "key_dim": 6,
                "output_dim": 5,
                "rotary_base": 500.0,
                "dropout": 0.2,
            },
            normal(2, 7, 8),
            sequence=True,
        ),
        "SinusoidalPositionEmbedding": Case(
            {"output_dim": 4, "merge_mode": "concat", "base": 500.0},
            normal(2, 7, 6),
            sequence=True,
        ),
        "TimestepEmbedding": Case(
            {"num_steps": 12, "dim": 6}, np.array([1, 12, 5], "int32")
        ),
        "VectorQuantizer": Case(
            {
                "codebook_size": 5,
                "restart_threshold": 0.5,
                "usage_decay": 0.1,
                "seed": 5,
            },
            normal(2, 7, 6),
            sequence=True,
        ),
        "VectorQuantizerEMA": Case(
            {
                "codebook_size": 5,
                "decay": 0.1,
                "restart_threshold": 0.5,
                "seed": 5,
            },
            normal(2, 7, 6),
            sequence=True,
        ),
        "VonMisesFisherSampling": Case(
            {"kappa": 3.0, "seed": 5}, normal(2, 7, 6)
        ),
    },
    "losses": {
        "MultilabelCrossentropy": Case(
            inputs=(integers(2, 5, 4).astype("float32"), normal(5, 4))
        ),
        "SmoothAccuracy": Case(inputs=(integers(3, 5), normal(5, 3))),
        "SmoothF1": Case(
            {"average": "micro"},
            (integers(2, 5, 4).astype("float32"), normal(5, 4)),
            by_sample=False,
        ),
        "SparseMultilabelCrossentropy": Case(
            {"mask_zero": True}, (integers(4, 5, 2), normal(5, 4))
        ),
        "TaiLrCrossentropy": Case(
            {"gamma": 0.3, "min_weight": 0.1, "label_smoothing": 0.2},
            (integers(3, 5), normal(5, 3)),
        ),
    },
    "optimizers": {
        "ExcludeFromWeightDecay": Case(
            lambda: {
                "optimizer": keras.optimizers.AdamW(0.05, weight_decay=0.01),
                "exclude": ["bias$"],
            }
        ),
        "LazyOptimizer": Case(
            lambda: {
                "optimizer": keras.optimizers.Adam(0.05),
                "moments": "decayed",
                "embeddings": ["kernel"],
            }
        ),
        "LearningRateMultipliers": Case(
            lambda: {
                "optimizer": keras.optimizers.Adam(0.05),
                "multipliers": {"bias$": 2.0, "dense": 0.8},
            }
        ),
        "Lookahead": Case(
            lambda: {
                "optimizer": keras.optimizers.Adam(0.05),
                "sync_period": 3,
                "slow_step_size": 0.8,
            }
        ),
        "PiecewiseLinear": Case(
            {"schedule": [[2, 1.0], [7, 0.25]], "learning_rate": 0.1}
        ),
        "SummedGradients": Case(
            lambda: {"optimizer": keras.optimizers.Adam(0.05)}
        ),
    },
    "regularizers": {
        "MaskedOrthogonality": Case({"factor": 0.3}, normal(5, 3)),
        "SelfOrthogonality": Case(
            {"gamma": 2.0, "l1": 0.5, "l2": 0.7, "average": True},
            normal(5, 3),
        ),
    },
    "training": {
        "AdversarialTraining": Case(
            {
                "embedding": ["tokens"],
                "epsilon": 0.3,
                "steps": 2,
                "include_clean": True,
                "perturb": "outputs",
                "step_size": 0.2,
            }
        ),
        # about the loss at first, ln 3
        "Flooding": Case({"level": 1.05}),
        "GradientPenalty": Case({"embedding": "tokens", "epsilon": 0.7}),
        "ImplicitGradientRegularization": Case({"rate": 0.5}),
        "NoiseInjection": Case(
            {
                "stddev": 0.3,
                "perturb": "outputs",
                "embedding": ["tokens"],
                "seed": 5,
            }
        ),
        "VirtualAdversarialTraining": Case(
            {
                "embedding": "tokens",
                "epsilon": 0.5,
                "xi": 0.3,
                "iters": 1,
                "weight": 0.7,
                "seed": 3,
            },
            step=lambda x, y: (x, y, integers(9, 6, 7)),
        ),
    },
    "sampling": {
        "DDIM": Case(
            lambda: {
                "schedule": NoiseSchedule.author(12),
                "stride": 3,
                "eta": 0.5,
            },
            normal(4, 3, 5),
        ),
        "DDPM": Case(
            lambda: {
                "schedule": NoiseSchedule.author(12),
                "sigma": "posterior",
            },
            normal(4, 3, 5),
        ),
        "Langevin": Case(
            {"step_size": 0.1, "num_steps": 7, "temperature": 0.5},
            normal(4, 3, 5),
        ),
        "WassersteinFlow": Case(
            {"step_size": 0.1, "num_steps": 7, "temperature": 0.5},
            normal(4, 3, 5),
        ),
    },
    "models": {
        "build_ddpm": Case(
            lambda: dict(_SMALL_DDPM),
            (normal(3, 8, 12, 2), np.array([1, 12, 5], "int32")),
        ),
        "build_ddpm_trainer": Case(
            lambda: {
                "denoiser": build_ddpm(**_SMALL_DDPM),
                "schedule": NoiseSchedule.author(12),
                "seed": 5,
            },
            normal(3, 8, 12, 2),
            targets=False,
        ),
    },
}


def to_numpy(x):
    """Returns the NumPy array of a tensor of any backend and precision."""
    return ops.convert_to_numpy(ops.cast(x, "float32"))


# ---- layers


def check_layer(cls, init, inputs, folder, shape=None):
    """Checks a layer; `init`, `inputs`, `shape` are those of a `Case`."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    if shape is None:
        shape = tuple((None, *_free(x)) for x in inputs)
    elif len(inputs) == 1:
        shape = (shape,)
    _check_layer_config(cls, init, inputs)
    _check_symbolic_shape_and_saving(cls, init, inputs, shape, folder)
    _check_repeatability(cls, init, inputs)
    _check_empty_batch(cls, init, inputs)
    for policy in ("mixed_bfloat16", "mixed_float16"):
        _check_low_precision(cls, init, inputs, policy)
    for policy in ("float32", "mixed_float16"):
        _check_training(cls, init, inputs, shape, policy)


def _check_layer_config(cls, init, inputs):
    layer = cls(**arguments(init))
    config = layer.get_config()
    layer(*inputs)
    assert layer.get_config() == config, "building must not change the config"
    _check_config(cls, init, config)


def _check_symbolic_shape_and_saving(cls, init, inputs, shape, folder):
    model = _around(cls(**arguments(init)), inputs, shape)
    path = folder / "layer.keras"
    model.save(path)
    again = keras.saving.load_model(path)
    y, z = _flat(model(_one(inputs))), _flat(again(_one(inputs)))
    for tensor, symbolic in zip(y, model.outputs, strict=True):
        assert len(tensor.shape) == len(symbolic.shape)
        for n, promised in zip(tensor.shape, symbolic.shape, strict=True):
            assert promised in (None, n), "another shape than promised"
        assert _dtype(tensor) == _dtype(symbolic)
    for a, b in zip(y, z, strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-6)


def _check_repeatability(cls, init, inputs):
    """Same seed, same result; a layer with a seed draws anew at each call."""

    def calls(**more):
        keras.utils.set_random_seed(7)
        layer = cls(**{**arguments(init), **more})
        calls = [_flat(layer(*inputs, training=True)) for _ in range(2)]
        return [[to_numpy(y) for y in call] for call in calls]

    _assert_equal(calls(), calls())
    if "seed" in cls(**arguments(init)).get_config():
        first, second = calls(seed=3)
        _assert_equal(calls(seed=3), [first, second])
        moved = [(a != b).any() for a, b in zip(first, second, strict=True)]
        assert any(moved), "two calls in training drew the same numbers"


def _check_empty_batch(cls, init, inputs):
    """An empty batch gives an empty result, or a readable `ValueError`."""
    layer = cls(**arguments(init))
    full = _flat(layer(*inputs))
    try:
        empty = _flat(layer(*(x[:0] for x in inputs)))
    except ValueError as error:
        assert "Received" in str(error), error
        return
    for a, b in zip(full, empty, strict=True):
        if a.shape and a.shape[0] == len(inputs[0]):
            assert tuple(b.shape) == (0, *a.shape[1:])


def _check_low_precision(cls, init, inputs, policy):
    layer = cls(**arguments(init), dtype=policy)
    outputs = [y for y in _flat(layer(*inputs)) if _is_float(y)]
    for y in outputs:
        assert np.isfinite(to_numpy(y)).all(), f"not finite in {policy}"
    if outputs and layer.autocast and _is_float(inputs[0]):
        assert _dtype(outputs[0]) in (layer.compute_dtype, "float32")


def _check_training(cls, init, inputs, shape, policy):
    """Compiled as users run it; gradients reach upstream and all weights."""
    with _policy(policy):
        layer = cls(**arguments(init))
        free = [
            keras.Input(s[1:], dtype=_dtype(x))
            for s, x in zip(shape, inputs, strict=True)
        ]
        stems = [
            keras.layers.Dense(x.shape[-1])(i)
            if _is_float(x) and x.ndim > 1
            else i
            for i, x in zip(free, inputs, strict=True)
        ]
        outputs = [y for y in _flat(layer(*stems)) if _is_float(y)]
        net = keras.Model(_one(free), outputs)
    if not net.trainable_variables:
        net.compile(jit_compile=JIT)
        for y in _flat(net.predict(_one(inputs), verbose=0)):
            assert np.isfinite(y).all()
        return
    _check_fit(net, inputs, len(outputs))


def recurrent(cell):
    """Returns a class: `keras.layers.RNN` around a cell, as if it were one."""

    @keras.saving.register_keras_serializable(package="tests")
    class Recurrent(keras.layers.RNN):
        def __init__(self, name=None, dtype=None, trainable=True, **kwargs):
            own = {"name": name, "dtype": dtype, "trainable": trainable}
            super().__init__(
                cell(**own, **kwargs), return_sequences=True, **own
            )

        def get_config(self):
            return {**self.cell.get_config(), "name": self.name}

        @classmethod
        def from_config(cls, config):
            return cls(**config)

    return Recurrent


def check_padding_is_ignored(layer, x, mask):
    """Alters and cuts padding: outputs at real positions must not move.

    `x` is `(batch, length, ...)`, `mask` `(batch, length)`, right-padded.
    The mask arrives as it does from an upstream layer with `mask_zero`.
    """
    masked = _Masked()
    keep = np.reshape(mask, mask.shape + (1,) * (x.ndim - 2))  # as x
    marks = np.broadcast_to(keep, (*x.shape[:-1], 1)).astype(x.dtype)

    def run(x, marks):
        outputs = layer(masked(np.concatenate([x, marks], axis=-1)))
        return to_numpy(_flat(outputs)[0])

    clean = run(x, marks)
    moved = run(np.where(keep, x, x + 5).astype(x.dtype), marks)
    np.testing.assert_allclose(clean[mask], moved[mask], atol=1e-5)
    for i, n in enumerate(mask.sum(axis=1)):
        bare = run(x[i : i + 1, :n], marks[i : i + 1, :n])
        np.testing.assert_allclose(clean[i, :n], bare[0], atol=1e-5)


class _Masked(keras.layers.Layer):
    """Takes the last feature off as the mask, like `mask_zero` upstream."""

    def call(self, inputs):
        return inputs[..., :-1]

    def compute_mask(self, inputs, previous_mask=None):
        keep = inputs[..., -1] > 0
        while len(keep.shape) > 2:
            keep = keep[..., 0]
        return keep


# ---- losses


def check_loss(cls, init, y_true, y_pred, folder, by_sample=True):
    """Checks a `keras.losses.Loss` on one batch of targets and predictions."""
    loss = cls(**arguments(init))
    _check_config(cls, init, loss.get_config())
    value = to_numpy(loss(y_true, y_pred))
    assert value.shape == () and np.isfinite(value)
    if by_sample:
        _check_reduction(cls, init, y_true, y_pred)
    for dtype in ("bfloat16", "float16"):
        low = to_numpy(loss(y_true, ops.cast(y_pred, dtype)))
        np.testing.assert_allclose(low, value, rtol=0.05, atol=0.05)

    inputs = keras.Input(y_pred.shape[1:])
    net = keras.Model(inputs, keras.layers.Dense(y_pred.shape[-1])(inputs))
    net.compile(keras.optimizers.Adam(1e-2), loss, jit_compile=JIT)
    before = [to_numpy(w) for w in net.trainable_variables]
    history = net.fit(y_pred, y_true, epochs=20, verbose=0).history["loss"]
    assert np.isfinite(history).all() and history[-1] < history[0]
    for w, b in zip(net.trainable_variables, before, strict=True):
        assert np.isfinite(to_numpy(w)).all() and (to_numpy(w) != b).any()
    net.save(folder / "loss.keras")
    again = keras.saving.load_model(folder / "loss.keras")
    assert type(again.loss) is cls
    assert again.loss.get_config() == loss.get_config()


def _check_reduction(cls, init, y_true, y_pred):
    """One number a sample, and Keras' reductions and weights of them."""

    def value(reduction, **more):
        loss = cls(**arguments(init), reduction=reduction)
        return to_numpy(loss(y_true, y_pred, **more))

    each = value(None)
    assert each.shape == y_pred.shape[:1], "not one number a sample"
    weight = np.arange(len(each), dtype="float32")
    np.testing.assert_allclose(value("sum"), each.sum(), rtol=1e-5)
    np.testing.assert_allclose(
        value("sum_over_batch_size"), each.mean(), rtol=1e-5
    )
    np.testing.assert_allclose(
        value(None, sample_weight=weight), each * weight, rtol=1e-5
    )


# ---- regularizers


def check_regularizer(cls, init, x, folder):
    """Checks a `keras.regularizers.Regularizer` on the kernel `x`."""
    _check_config(cls, init, cls(**arguments(init)).get_config())
    value = to_numpy(cls(**arguments(init))(x))
    assert value.shape == () and np.isfinite(value)

    inputs = keras.Input(x.shape[:1])
    dense = keras.layers.Dense(
        x.shape[1], use_bias=False, kernel_regularizer=cls(**arguments(init))
    )
    net = keras.Model(inputs, dense(inputs))
    dense.kernel.assign(x)
    net.compile(keras.optimizers.Adam(1e-2), jit_compile=JIT)
    history = net.fit(normal(4, len(x)), epochs=20, verbose=0).history["loss"]
    assert np.isfinite(history).all() and history[-1] < history[0]
    assert np.isfinite(to_numpy(dense.kernel)).all()
    net.save(folder / "regularizer.keras")
    again = keras.saving.load_model(folder / "regularizer.keras")
    assert type(again.layers[-1].kernel_regularizer) is cls


# ---- optimizers


def check_optimizer(cls, init, folder):
    """Checks an optimizer where users put it: unbuilt, in a compiled `fit`."""

    def new():
        return cls(**arguments(init))

    config = new().get_config()
    assert cls.from_config(_json(config)).get_config() == config

    optimizer = new()
    optimizer.learning_rate = 0.25
    assert float(to_numpy(optimizer.learning_rate)) == 0.25

    # an initial assignment traced into the train step would differ here
    net, built = _linear(new()), _linear(new())
    built.optimizer.build(built.trainable_variables)
    _assert_equal([_fit_weights(net, 5)], [_fit_weights(built, 5)])

    # the state is saved whole: resumed equals uninterrupted
    net.save(folder / "optimizer.keras")
    again = keras.saving.load_model(folder / "optimizer.keras")
    _assert_equal([_fit_weights(net, 4)], [_fit_weights(again, 4)])

    x, y = _line(16)
    _fit_weights(net, 300)
    error = to_numpy(net(x)) - y
    assert np.square(error).mean() < 0.01 * np.square(y).mean()

    for policy in ("mixed_bfloat16", "mixed_float16"):
        with _policy(policy):
            net = _linear(new())
        before = [to_numpy(w) for w in net.trainable_variables]
        after = _fit_weights(net, 20)
        for a, b in zip(after, before, strict=True):
            assert np.isfinite(a).all() and (a != b).any()
        for v in net.optimizer.variables:
            assert not _is_float(v) or _dtype(v) == "float32"


def check_schedule(cls, init, folder):
    """Checks a learning rate schedule, alone and in a compiled `fit`."""
    rate = cls(**arguments(init))
    _check_config(cls, init, rate.get_config())
    steps = np.arange(30)
    values = [to_numpy(rate(int(t))) for t in steps]
    assert np.isfinite(values).all() and np.min(values) >= 0
    np.testing.assert_allclose(to_numpy(rate(steps)), values, rtol=1e-6)

    net = _linear(keras.optimizers.SGD(rate))
    _fit_weights(net, 5)
    got = to_numpy(net.optimizer.learning_rate)
    np.testing.assert_allclose(got, values[5], rtol=1e-6)
    net.save(folder / "schedule.keras")
    again = keras.saving.load_model(folder / "schedule.keras")
    _assert_equal([_fit_weights(net, 4)], [_fit_weights(again, 4)])


def _linear(optimizer):
    """Returns a compiled linear model that has not been trained."""
    inputs = keras.Input((3,))
    dense = keras.layers.Dense(2, kernel_initializer="zeros")
    net = keras.Model(inputs, dense(inputs))
    net.compile(optimizer, "mse", jit_compile=JIT)
    return net


def _line(n):
    x = normal(n, 3)
    return x, x @ np.array([[1.0, -0.5], [0.7, 0.2], [-0.3, 0.9]], "float32")


def _fit_weights(net, steps):
    x, y = _line(4 * steps)
    net.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    return [to_numpy(w) for w in net.trainable_variables]


# ---- training wrappers


def check_training_wrapper(cls, init, folder, step=None):
    """Checks what wraps a model: other weights by `fit`, all else the same.

    `step` turns a batch `(x, y)` of numbers into what `fit` is given.
    """
    step = step or (lambda x, y: (x, y))
    wrapper, model = _wrapped(cls, init)
    _check_json_config(cls, wrapper)
    config = wrapper.get_config()
    for key, value in arguments(init).items():
        assert _json(config[key]) == _json(value), key
    for name in ("weights", "trainable_variables"):
        ours, its = getattr(wrapper, name), getattr(model, name)
        assert [*map(id, ours)] == [*map(id, its)], f"other {name}"
    x, y = integers(9, 4, 7), integers(3, 4)
    np.testing.assert_array_equal(
        wrapper.predict(x, verbose=0), model.predict(x, verbose=0)
    )

    net, inner = _wrapped(cls, init)
    before = [to_numpy(w).copy() for w in inner.trainable_variables]
    _compile_wrapper(net, jit=True)
    history = _fit_wrapper(net, step).history
    assert {*history} == {"accuracy", "loss"}
    _check_moved(inner, before, history)

    # resumed equals uninterrupted
    net.save(folder / "wrapper.keras")
    again = keras.saving.load_model(folder / "wrapper.keras")
    assert type(again) is cls
    _check_json_config(cls, again)
    for one in again, net:
        _compile_wrapper(one, optimizer=one.optimizer)
        keras.utils.set_random_seed(6)  # of PyTorch
        for v in one.variables:
            if "seed" in v.path:  # Keras does not save these
                v.assign(np.ones(v.shape, v.dtype))
        _fit_wrapper(one, step)
    _assert_equal(
        *([[to_numpy(v) for v in one.variables]] for one in (again, net))
    )

    for model in net, inner:
        _compile_wrapper(model)
    for a, b in zip(
        net.evaluate(x, y, verbose=0),
        inner.evaluate(x, y, verbose=0),
        strict=True,
    ):
        assert a == pytest.approx(b, rel=1e-5), "it evaluates otherwise"

    for policy in ("mixed_bfloat16", "mixed_float16"):
        with _policy(policy):
            net, inner = _wrapped(cls, init)
        before = [to_numpy(w).copy() for w in inner.trainable_variables]
        _compile_wrapper(net)
        history = _fit_wrapper(net, step, epochs=3).history
        _check_moved(inner, before, history)

    for wrong in (None, keras.layers.Dense(2), keras.Sequential(), wrapper):
        with pytest.raises(ValueError, match="`model` must be .*Received: "):
            cls(wrong, **arguments(init))


def _wrapped(cls, init):
    """Returns a wrapper and its model, a classifier of seven tokens."""
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True, name="tokens")(ids)
    x = keras.layers.Dropout(0.2, seed=3)(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    model = keras.Model(ids, keras.layers.Dense(3, "softmax")(x))
    return cls(model, **arguments(init)), model


def _compile_wrapper(net, jit=False, optimizer=None):
    if optimizer is None:
        optimizer = keras.optimizers.Adam(1e-2)
        if net.dtype_policy.name == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, 2.0**4)
    loss = keras.losses.SparseCategoricalCrossentropy()
    jit = JIT and (jit or keras.config.backend() == "jax")
    net.compile(
        optimizer,
        loss,
        metrics=["accuracy"],
        jit_compile=jit,
        # TensorFlow takes its time over graphs too: one jitted fit is enough
        run_eagerly=keras.config.backend() == "tensorflow" and not jit,
    )


def _check_moved(model, before, history):
    assert np.isfinite(history["loss"]).all()
    for w, b in zip(model.trainable_variables, before, strict=True):
        assert np.isfinite(to_numpy(w)).all(), w.path
        assert (to_numpy(w) != b).any(), f"no gradient reached {w.path}"


def _fit_wrapper(net, step, epochs=1):
    batch = step(integers(9, 4, 7), integers(3, 4))
    return net.fit(_Batches([batch]), epochs=epochs, verbose=0)


class _Batches(keras.utils.PyDataset):
    """The given batches, whatever a batch is."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, i):
        return self.batches[i]


def _check_json_config(cls, wrapper):
    config = _json(wrapper.get_config())
    assert _json(cls.from_config(config).get_config()) == config


# ---- samplers


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
            _assert_equal([[to_numpy(again)]], [[clean]])
    sampler = cls(**arguments(init))
    if sampler.is_random:
        assert (to_numpy(sampler(net, noise, seed=4)) != clean).any()
    # any number of images, of any size that the denoiser takes
    some = to_numpy(sampler(net, noise[:2], seed=3))
    assert some.shape == noise[:2].shape and np.isfinite(some).all()
    for dtype in ("bfloat16", "float16"):
        low = sampler(net, ops.cast(noise, dtype), seed=3)
        assert _dtype(low) == "float32" and np.isfinite(to_numpy(low)).all()
    drawn = sampler.sample(net, 5, seed=3, batch_size=2)
    fewer = sampler.sample(net, 3, seed=3, batch_size=2)
    assert drawn.shape == (5, *noise.shape[1:])
    _assert_equal([[drawn[:3]]], [[fewer]])
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
        _assert_equal([[again]], [[final]])
    if flow.is_random:
        assert (to_numpy(flow(energy, noise, seed=4)) != final).any()
    for dtype in ("bfloat16", "float16"):
        low = flow(energy, ops.cast(noise, dtype), seed=3)
        assert _dtype(low) == "float32" and np.isfinite(to_numpy(low)).all()
    for wrong in (noise[:0], noise.astype("int32")):
        with pytest.raises(ValueError, match="Received: "):
            flow(energy, wrong)


# ---- models


def check_model(build, init, inputs, folder, targets=True):
    """Checks what a model builder returns; arguments are those of `Case`."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    model = build(**arguments(init))
    model.save(folder / "model.keras")
    again = keras.saving.load_model(folder / "model.keras")
    assert _json(again.get_config()) == _json(model.get_config())
    for w, v in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(w), to_numpy(v))
    with _policy("mixed_bfloat16"):
        low = build(**arguments(init))
    for y in _flat(low.predict(_one(inputs), verbose=0)):
        assert np.isfinite(y.astype("float32")).all()
    for policy in ("float32", "mixed_float16"):
        with _policy(policy):
            model = build(**arguments(init))
        _check_fit(
            model,
            inputs,
            len(model.outputs) if targets else 0,
            # TensorFlow's XLA takes its time over a model: once is enough
            eager=policy == "mixed_float16"
            and keras.config.backend() == "tensorflow",
        )


# ---- what the checks share


def _check_fit(net, inputs, num_targets, eager=False):
    """Fits `net`, jitted: finite, and every trainable weight has moved."""
    optimizer = keras.optimizers.Adam(1e-2)
    if net.dtype_policy.name == "mixed_float16":
        # the default scale, 2^15, overflows on purpose for some steps
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, 2.0**4)
    data = _one(inputs)
    known = [keras.KerasTensor(x.shape, _dtype(x)) for x in inputs]
    targets = [
        np.random.default_rng(i).normal(size=y.shape).astype("float32")
        for i, y in enumerate(
            _flat(net.compute_output_spec(_one(known)))[:num_targets]
        )
    ]
    loss = [_distance] * num_targets if num_targets else None
    net.compile(
        optimizer, loss, jit_compile=JIT and not eager, run_eagerly=eager
    )
    before = [to_numpy(w) for w in net.trainable_variables]
    fit = net.fit(
        data,
        targets if num_targets else None,
        batch_size=len(inputs[0]),
        epochs=5,  # where layers begin at zero, gradients arrive late
        verbose=0,
    )
    assert np.isfinite(fit.history["loss"]).all()
    for w, b in zip(net.trainable_variables, before, strict=True):
        assert np.isfinite(to_numpy(w)).all(), w.path
        assert (to_numpy(w) != b).any(), f"no gradient reached {w.path}"


def _check_config(cls, init, config):
    """The config is JSON, holds the arguments, and gives an equal copy."""
    assert cls.from_config(_json(config)).get_config() == config
    for key, value in arguments(init).items():
        assert key in config
        if isinstance(value, (bool, int, float, str, list, tuple, type(None))):
            assert _json(config[key]) == _json(value), key


def _around(layer, inputs, shape):
    """Returns a model of `layer` on symbolic inputs of the given shapes."""
    free = [
        keras.Input(s[1:], dtype=_dtype(x))
        for s, x in zip(shape, inputs, strict=True)
    ]
    return keras.Model(_one(free), _flat(layer(*free)))


def arguments(init):
    """Returns new constructor arguments of a `Case`."""
    return dict(init() if callable(init) else init)


def _free(x):
    return (*(None,) * (x.ndim - 2), *x.shape[1:][-1:])


def _one(inputs):
    """Returns what a model takes: the one input itself, or a list."""
    return list(inputs) if len(inputs) > 1 else inputs[0]


def _flat(structure):
    return keras.tree.flatten(structure)


def _json(config):
    return json.loads(json.dumps(config))


def _dtype(x):
    return keras.backend.standardize_dtype(x.dtype)


def _is_float(x):
    return keras.backend.is_float_dtype(_dtype(x))


def _distance(y_true, y_pred):
    """Mean of √(1 + Δ²): its slope is at most 1, so float16 holds it."""
    y_true, y_pred = (
        ops.reshape(ops.cast(y, "float32"), (-1,)) for y in (y_true, y_pred)
    )
    return ops.mean(ops.sqrt(1.0 + ops.square(y_true - y_pred)))


def _assert_equal(a, b):
    for xs, ys in zip(a, b, strict=True):
        for x, y in zip(xs, ys, strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@contextlib.contextmanager
def _policy(name):
    """Sets the global dtype policy, which models take, and takes it back."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
