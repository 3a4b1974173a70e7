"""What every public name does at the edges: it is right, or it raises.

A call that makes no sense is a `ValueError` that says what it received. Each
check is one kind of fault, looked for in every name with what its `Case`
gives; what a name may do instead is listed here by name, with the reason.
"""

import importlib
import inspect
import json

import keras
import numpy as np
import pytest
from keras import ops

from tests.contract.base import arguments, dtype_of, flat, is_float, normal
from tests.contract.cases import CASES

NAN, INF = float("nan"), float("inf")
NO_FLAGS = "False", 2, 1.0, [True], None
NO_NUMBERS = NAN, INF, -INF, "3", True, [1.0] * 9
NO_SIZES = 0, -1, 2.5, NAN, INF, "3", True, [3]
NO_SEEDS = -1, 2**40, 2.5, NAN, "3", True
NO_CHOICE = "no such name", 3, object()

# ---- what a name may accept beside the rule, by argument

ALLOWED = {
    # a constant in place of a weight
    ("ScaleOffset", "scale"): (2, 1.0, True),
    ("ScaleOffset", "offset"): (2, 1.0),
    # None: one output is a probability by itself, several are not
    ("VirtualAdversarialTraining", "binary"): (None,),
    # sizes that may be 0
    ("LocalSelfAttention", "window"): (0,),
    ("SparseSelfAttention", "window"): (0,),
    ("VirtualAdversarialTraining", "iters"): (0,),
    ("local_attention", "window"): (0,),
    ("sparse_attention", "window"): (0,),
    ("causal_mask", "num_queries"): (0,),
    ("causal_mask", "num_keys"): (0,),
    ("deep_norm_coefficients", "encoder_layers"): (0,),
    ("deep_norm_coefficients", "decoder_layers"): (0,),
    # where the first query stands, also one for each sample
    ("causal_mask", "offset"): (0, -1, [3]),
    # an axis counts from the end, too; that it exists is checked by `build`
    ("GumbelSoftmax", "axis"): (0, -1),
    ("grad_top_k", "axis"): (0, -1),
    ("smooth_argmax", "axis"): (0, -1),
    ("smooth_max", "axis"): (0, -1),
    ("smooth_one_hot", "axis"): (0, -1),
    ("soft_k_max", "axis"): (0, -1),
    ("thre_top_k", "axis"): (0, -1),
    # True: the author's number
    ("PositionEmbedding", "hierarchical"): (True,),
}
# a class that gives its base this argument itself: a TypeError of Python's
OF_BASE = {
    ("ScaleOffset", "zero_mean"),
    ("ScaleOffset", "unit_variance"),
    ("ScaleOffset", "epsilon"),
    ("VectorQuantizerEMA", "usage_decay"),
    ("VectorQuantizerEMA", "codebook_weight"),
}
# of Keras; or an object that tests of its own give nonsense for
NOT_TRIED = {
    "self",
    "args",
    "kwargs",
    "name",
    "dtype",
    "trainable",
    "autocast",
    "activity_regularizer",
    "kernel_regularizer",
    "recurrent_regularizer",
    "bias_regularizer",
    "reduction",
    "model",
    "optimizer",
    "schedule",
    "denoiser",
    "vae",
    "config_path",
    "checkpoint_path",
}


def public_object(room, name):
    """Returns a public class or function."""
    return getattr(importlib.import_module(f"su_models.{room}"), name)


def defaults(target):
    """Returns the arguments of a public name that have a default."""
    found = {}
    inits = [target]
    if inspect.isclass(target):
        inits = [
            vars(cls)["__init__"]
            for cls in target.__mro__
            if "__init__" in vars(cls) and cls.__module__.startswith("su_")
        ]
    for init in reversed(inits):
        signature = inspect.signature(init)
        own = signature.parameters
        for p in own.values():
            if p.default is not p.empty:
                found[p.name] = p.default
        if not any(p.kind is p.VAR_KEYWORD for p in own.values()):
            # what a base takes and this class does not
            found = {k: v for k, v in found.items() if k in own}
    name = getattr(target, "__name__", "")
    return {
        k: v
        for k, v in found.items()
        if k not in NOT_TRIED and (name, k) not in OF_BASE
    }


def wrong_arguments(name, target, init):
    """Yields pairs of an argument and a value that makes no sense for it."""
    known = {**defaults(target), **arguments(init)}
    for key, value in known.items():
        if key in NOT_TRIED:
            continue
        allowed = ALLOWED.get((name, key), ())
        for wrong in _nonsense(key, value):
            if not any(_same(wrong, x) for x in allowed):
                yield key, wrong


def _nonsense(key, value):
    if key == "seed":
        return NO_SEEDS
    if isinstance(value, bool):
        return NO_FLAGS
    if isinstance(value, int):
        return NO_SIZES
    if isinstance(value, float):
        return NO_NUMBERS
    if isinstance(value, str):
        return NO_CHOICE
    if _are_integers(value):
        more = [[wrong, *value[1:]] for wrong in (0, -1, 2.5, "3", NAN)]
        return [*more, [], "3"]
    return [object()] if value is None else []


def _are_integers(value):
    several = isinstance(value, (list, tuple))
    return several and all(type(n) is int for n in value)


def _same(a, b):
    return type(a) is type(b) and (a is b or a == b)


def check_arguments(name, target, init, make=None):
    """Each argument that makes no sense is an error, when it is given."""
    make = make or target
    for key, wrong in wrong_arguments(name, target, init):
        given = {**arguments(init), key: wrong}
        check_raises(f"{key}={wrong!r}", make, **given)


def check_raises(call, fn, /, *args, **kwargs):
    """`fn` raises a ValueError that says what it received."""
    try:
        fn(*args, **kwargs)
    except ValueError as error:
        assert "eceived" in str(error), f"{call}: unreadable: {error}"
    except Exception as error:
        raise AssertionError(f"{call}: {error!r}") from error
    else:
        raise AssertionError(f"{call} was accepted in silence")


def check_numpy_arguments(target, init, make=None):
    """NumPy's scalars are taken for Python's, and configs stay JSON."""
    make = make or target
    known = {**defaults(target), **arguments(init)}
    kinds = {
        key: (value, _numpy_kinds(value))
        for key, value in known.items()
        if key not in NOT_TRIED and _numpy_kinds(value)
    }
    plain = make(**{**arguments(init), **{k: v for k, (v, _) in kinds.items()}})
    for turn in range(3):  # all arguments at once: making a model takes time
        given = {k: of[turn % len(of)](v) for k, (v, of) in kinds.items()}
        same = make(**{**arguments(init), **given})
        if not hasattr(plain, "get_config"):
            continue
        expected = plain.get_config()
        got = json.loads(json.dumps(same.get_config()))
        for key in set(kinds) & set(expected):
            assert type(got[key]) is type(expected[key]), key
            assert got[key] == pytest.approx(expected[key], rel=1e-6), key


# ---- inputs of layers

# inputs of which only the length is read
ONLY_LENGTHS = {
    "CausalMask": (0,),
    "PositionIds": (0,),
    "RelativePositionBias": (0, 1),
    "RelativePositionEmbedding": (0, 1),
}
# axes of size 1 after the batch are repeated, as the docstring says
ANY_SIZE = {"Add"}
# integers that may be any number: positions count from anywhere
ANY_INTEGER = {
    "PositionIds": (1,),
    "RelativePositionBias": (2,),
    "RelativePositionEmbedding": (2,),
}


def inputs_of(case):
    return case.inputs if isinstance(case.inputs, tuple) else (case.inputs,)


def check_indices_exist(name, layer, inputs):
    """An index that does not exist is an error."""
    for i, x in enumerate(inputs):
        skipped = ONLY_LENGTHS.get(name, ()) + ANY_INTEGER.get(name, ())
        if is_float(x) or i in skipped:
            continue
        for wrong in (-1, 10**6):
            moved = x.copy()
            moved[(1,) * x.ndim] = wrong
            given = [*inputs[:i], moved, *inputs[i + 1 :]]
            check_raises(f"index {wrong}", layer, *given)


def check_no_broadcast(name, layer, inputs):
    """No input is repeated to fit another."""
    layer(*inputs)  # builds
    for i, x in enumerate(inputs):
        only_length = i in ONLY_LENGTHS.get(name, ())
        if len(inputs) == 1 or only_length:
            continue
        cut = {"batch 1": x[:1]}
        if x.ndim > 1 and i and name not in ANY_SIZE:
            cut["last axis 1"] = x[..., :1]
        for what, y in cut.items():
            given = [*inputs[:i], y, *inputs[i + 1 :]]
            check_raises(f"input {i} of {what}", layer, *given)


# layers of one input that may get another number of features at each call
ANY_FEATURES = {
    "CausalMask",
    "FirstToken",
    "ForwardDiffusion",
    "GumbelSoftmax",
    "SinusoidalPositionEmbedding",  # they are concatenated
    "ZeroMasked",
}


def check_features_stay(name, layer, inputs):
    """A built layer rejects inputs of one feature, or of one more."""
    if len(inputs) > 1 or name in ANY_FEATURES or not is_float(inputs[0]):
        return
    (x,) = inputs
    layer(x)  # builds
    for y in (x[..., :1], np.concatenate([x, x[..., :1]], -1)):
        check_raises(f"inputs of shape {y.shape}", layer, y)


def check_nan_is_seen(name, layer, inputs):
    """What is not a number gives no number."""
    for i, x in enumerate(inputs):
        if not is_float(x):
            continue
        moved = x.copy()
        moved[(1, *(0 if name in FIRST else 1,) * (x.ndim - 1))] = NAN
        given = [*inputs[:i], moved, *inputs[i + 1 :]]
        try:
            outputs = flat(layer(*given))
        except ValueError:
            continue
        outputs = [y for y in outputs if is_float(y)]
        assert not all(
            np.isfinite(ops.convert_to_numpy(y)).all() for y in outputs
        ), f"NaN in input {i} cannot be seen in the outputs"


def call_arguments(layer):
    return {
        p.name: p.default
        for p in inspect.signature(layer.call).parameters.values()
        if p.default is not p.empty
    }


def check_masks_are_boolean(layer, inputs):
    """Masks of floats, NaN or additive, are rejected."""
    shape = inputs[0].shape[:2]
    for key in call_arguments(layer):
        if not key.endswith("mask"):
            continue
        for wrong in (np.full(shape, NAN, "float32"), np.zeros(shape)):
            given = {key: ops.convert_to_tensor(wrong, "float32")}
            if key in ("value_mask", "key_mask"):
                given["value"] = inputs[0]
            check_raises(f"{key} of floats", layer, *inputs, **given)


def check_call_flags(layer, inputs):
    """Flags of a call are bools, as those of a constructor."""
    for key, value in call_arguments(layer).items():
        if not isinstance(value, bool) or key == "training":
            continue
        layer(*inputs, **{key: np.bool_(value)})
        for wrong in NO_FLAGS:
            call = f"{key}={wrong!r}"
            check_raises(call, layer, *inputs, **{key: wrong})


# outputs whose dtype is fixed, or which are drawn and so the same in all
FIXED = {"ForwardDiffusion": (2,), "ONLSTM": (1,)}


def floats_of(name, outputs):
    return [
        y
        for i, y in enumerate(flat(outputs))
        if is_float(y) and i not in FIXED.get(name, ())
    ]


def check_integers_are_not_rounded(name, new, inputs):
    """Integers are taken for the floats that they are."""
    if not all(is_float(x) for x in inputs) or name in AS_GIVEN:
        return
    for kind in ("int32", "uint8"):
        whole = [np.abs(3 * x).astype(kind) for x in inputs]
        expected = new()(*[x.astype("float32") for x in whole])
        got = new()(*whole)
        for y, z in zip(flat(expected), flat(got), strict=True):
            assert dtype_of(y) == dtype_of(z), f"from {kind}: {dtype_of(z)}"
            y, z = ops.convert_to_numpy(y), ops.convert_to_numpy(z)
            np.testing.assert_allclose(z, y, rtol=1e-5, atol=1e-6)


def check_float64(name, new, inputs):
    """Under a float64 policy nothing on the way is rounded to float32.

    A movement that float32 cannot hold has to move the outputs, half of it
    by half as much.
    """
    wide = [x.astype("float64") if is_float(x) else x for x in inputs]
    # of another direction than any input of a `Case`
    moves = [
        np.sin(7.0 * np.arange(x.size) + i).reshape(x.shape) * 2.0**-32
        for i, x in enumerate(inputs)
    ]

    def outputs(size):
        # float64 is lost where Keras converts NumPy arrays to its floatx
        given = [
            ops.convert_to_tensor(x + size * move, x.dtype)
            if is_float(x)
            else x
            for x, move in zip(wide, moves, strict=True)
        ]
        layer = new()
        found = floats_of(name, layer(*given))
        if _is_rounded_by_keras(name, layer):
            rounded.append(name)
        for y in found:
            assert dtype_of(y) == "float64", f"an output of {dtype_of(y)}"
        return [ops.convert_to_numpy(y) for y in found]

    rounded = [name] if name in STEPS else []
    if not any(is_float(x) for x in inputs):
        outputs(0.0)
        return
    for y, half, whole in zip(*map(outputs, (0.0, 0.5, 1.0)), strict=True):
        if rounded:
            continue
        size = np.abs(whole - y).max()
        assert size > 0, "a movement below float32 is lost"
        np.testing.assert_allclose(
            half - y, (whole - y) / 2, atol=1e-3 * size, rtol=0
        )


def check_dtypes_with_64_bits(layer, inputs):
    """Where JAX has 64 bits a layer of float32 returns none of them.

    It is traced, not run, and of no use afterwards.
    """
    import jax

    layer(*inputs)  # builds
    with jax.enable_x64(True):
        outputs = jax.eval_shape(lambda *x: flat(layer(*x)), *inputs)
    for y in outputs:
        assert "64" not in str(y.dtype), f"an output of {y.dtype}"


def _is_rounded_by_keras(name, layer):
    """Tells whether a part that is Keras' own makes float32 of float64."""
    if keras.config.backend() == "jax":  # the activation `tanh`
        return name in {"ONLSTM", "ONLSTMCell"}
    of_keras = keras.layers.Dense, keras.layers.EinsumDense
    if keras.config.backend() != "torch":
        return False
    return any(isinstance(x, of_keras) for x in layer._flatten_layers())


# their output is a step function of the input
STEPS = {
    "GumbelSoftmax",
    "FiniteScalarQuantizer",
    "VectorQuantizer",
    "VectorQuantizerEMA",
}


def check_h5(layer, inputs, path):
    """A file of Keras' old format gives the layer back."""
    free = [keras.Input(x.shape[1:], dtype=dtype_of(x)) for x in inputs]
    net = keras.Model(free, flat(layer(*free)))
    net.save(path)
    again = keras.saving.load_model(path)
    for y, z in zip(flat(net(inputs)), flat(again(inputs)), strict=True):
        if not (hasattr(layer, "generator") or hasattr(layer, "seed")):
            _assert_close(y, z)
    assert again.layers[-1].get_config() == net.layers[-1].get_config()


def check_time_distributed(layer, x):
    """A layer works on each step, or says why not."""
    outputs = flat(layer(x))
    free = keras.Input((3, *x.shape[1:]), dtype=dtype_of(x))
    distributed = keras.layers.TimeDistributed(layer)
    if len(outputs) > 1:
        check_raises("several outputs", distributed, free)
        return
    net = keras.Model(free, distributed(free))
    steps = np.stack([x, x[::-1], x], axis=1)
    found = net(steps)
    for n, promised in zip(found.shape, net.output.shape, strict=True):
        assert promised in (None, n), f"promised {net.output.shape}"
    if not hasattr(layer, "generator"):
        _assert_close(found[:, 0], outputs[0])


def check_output_shape(layer, inputs):
    """`compute_output_shape` promises what a call returns."""
    outputs = flat(layer(*inputs))
    promised = layer.compute_output_shape(*[x.shape for x in inputs])
    if len(outputs) == 1 and not isinstance(promised[0], (tuple, list)):
        promised = [promised]
    for shape, y in zip(promised, outputs, strict=True):
        assert tuple(shape) == tuple(y.shape)


# layers that hand on what they are given, integers as well
AS_GIVEN = {"Add", "FirstToken", "ZeroMasked"}
# reads the first token alone
FIRST = {"FirstToken"}


# ---- losses

# of the batch as a whole, or one list of labels for any number of them
LISTS = {"SparseMultilabelCrossentropy"}


def check_loss_edges(name, loss, y_true, y_pred):
    """Shapes that do not fit, labels that do not exist, and NaN."""
    loss(y_true, y_pred)
    cut = {"batch 1": y_true[:1]}
    if y_true.ndim > 1 and name not in LISTS:
        cut["last axis 1"] = y_true[..., :1]
        cut["one number"] = y_true[:1, :1]
    for what, y in cut.items():
        check_raises(f"targets of {what}", loss, y, y_pred)
    weight = np.ones(len(y_pred), "float32")
    for wrong in (weight[:1], weight[:-1]):
        call = f"weights {wrong.shape}"
        check_raises(call, loss, y_true, y_pred, wrong)
    wrong = [10**6, 0.5] if y_true.dtype.kind == "i" else [2.0, -1.0]
    for value in (*wrong, NAN, INF):
        moved = y_true.astype("float32")
        moved[(1,) * y_true.ndim] = value
        check_raises(f"a target {value}", loss, moved, y_pred)
    for value in (NAN,):
        moved = y_pred.copy()
        moved[1, 1] = value
        found = ops.convert_to_numpy(loss(y_true, moved))
        assert not np.isfinite(found), f"{value} in a prediction is not seen"


def check_sampler_edges(sampler, noise):
    """Wrong noise, seeds and flags of a call are rejected at once."""

    def network(x, t=None):
        return x

    spoilt = noise.copy()
    spoilt[(1,) * noise.ndim] = NAN
    for wrong in (spoilt, noise[:0], noise.astype("int32"), NAN):
        check_raises(f"noise {wrong!r}", sampler, network, wrong, seed=1)
    for seed in NO_SEEDS:
        check_raises(f"seed={seed!r}", sampler, network, noise, seed=seed)
    for flag in NO_FLAGS:
        given = {"seed": 1, "progress": flag}
        check_raises(f"progress={flag!r}", sampler, network, noise, **given)
    for wrong in (3, None, "x"):
        check_raises(f"denoiser={wrong!r}", sampler, wrong, noise, seed=1)


def each_case(*rooms):
    return [(room, name) for room in rooms for name in CASES[room]]


# ---- operations: one right call each

_Q = normal(2, 7, 3, 4)
_MASKS = {
    "causal": False,
    "key_mask": np.arange(7) < [[7], [4]],
    "pair_mask": np.ones((2, 7, 7), "bool"),
}
_QKV = {"q": _Q, "k": _Q[:, ::-1].copy(), "v": _Q[::-1].copy()}
_ROW = normal(2, 7)

OPERATIONS = {
    "atrous_attention": {**_QKV, "rate": 3, **_MASKS},
    "causal_mask": {"num_queries": 3, "num_keys": 5, "offset": 1},
    "codebook_perplexity": {
        "indices": np.array([[0, 1], [2, 0]], "int32"),
        "codebook_size": 5,
    },
    "deep_norm_coefficients": {
        "encoder_layers": 3,
        "decoder_layers": 2,
        "rule": "deepnet",
    },
    "grad_top_k": {"x": _ROW, "k": 2, "sharpness": 1.5, "axis": -1},
    "hsic": {
        "x": normal(6, 3),
        "y": normal(6, 2),
        "sigma": 1.5,
        "estimator": "biased",
    },
    "local_attention": {**_QKV, "window": 2, **_MASKS},
    "minimize_over_simplex": {
        "fn": lambda p: ops.sum(ops.square(p - 0.1)),
        "start": np.full(4, 0.25, "float32"),
        "step_size": 0.5,
        "tolerance": 1e-3,
        "max_steps": 3,
    },
    "normal_kl": {"mean": _ROW, "log_variance": _ROW[::-1].copy()},
    "normalized_hsic": {
        "x": normal(6, 3),
        "y": normal(6, 2),
        "sigma": 1.5,
        "epsilon": 1e-5,
    },
    "prefix_mask": {"segment_ids": np.array([[0, 0, 1], [0, 1, 1]], "int32")},
    "smooth_abs": {"x": _ROW, "sharpness": 1.5},
    "smooth_argmax": {"x": _ROW, "sharpness": 1.5, "axis": -1},
    "smooth_floor": {"x": _ROW, "sharpness": 9.0},
    "smooth_max": {"x": _ROW, "sharpness": 1.5, "axis": -1},
    "smooth_one_hot": {"x": _ROW, "sharpness": 1.5, "axis": -1},
    "smooth_relu": {"x": _ROW, "sharpness": 1.5, "form": "softplus"},
    "soft_k_max": {"x": _ROW, "k": 2, "sharpness": 1.5, "axis": -1},
    "sparse_attention": {**_QKV, "rate": 3, "window": 1, **_MASKS},
    "thre_top_k": {
        "x": _ROW,
        "k": 2,
        "sharpness": 1.5,
        "form": "laplace",
        "axis": -1,
    },
    "von_mises_fisher_kl": {"dim": 3, "kappa": 1.5},
    "von_mises_fisher_moments": {"dim": 3, "kappa": 1.5},
}

# a tensor of which an axis may have any size, 1 as well
ANY_LAST = {
    ("atrous_attention", "v"),
    ("local_attention", "v"),
    ("sparse_attention", "v"),
    ("hsic", "x"),
    ("hsic", "y"),
    ("normalized_hsic", "x"),
    ("normalized_hsic", "y"),
}


def check_operation(name, fn, given):
    """An operation at all the edges that layers have."""
    outputs = flat(fn(**given))
    for key, wrong in wrong_arguments(name, fn, given):
        check_raises(f"{key}={wrong!r}", fn, **{**given, key: wrong})
    tensors = {k: v for k, v in given.items() if isinstance(v, np.ndarray)}
    floats = [k for k, v in tensors.items() if v.dtype.kind == "f"]
    for key, x in tensors.items():
        spoilt, place = x.astype("float64"), (1,) * x.ndim
        if key.endswith("mask"):
            wrong = [0.0 * spoilt, np.full(x.shape, NAN), x[:, :3]]
        elif key in floats:
            wrong = [x[:1]] if len(floats) > 1 else []
            if wrong and (name, key) not in ANY_LAST:
                wrong.append(x[..., :1])
        else:
            wrong = [spoilt + 0.5]
            for index in (-1, 10**6):
                wrong.append(x.copy())
                wrong[-1][place] = index
        for y in wrong:
            call = f"{key} {y.dtype} of shape {y.shape}"
            kind = "float32" if y.dtype.kind == "f" else y.dtype
            check_raises(call, fn, **{**given, key: y.astype(kind)})
        if key not in floats:
            continue
        spoilt[place] = NAN
        try:
            found = flat(fn(**{**given, key: spoilt.astype("float32")}))
        except ValueError:
            continue
        assert not all(
            np.isfinite(ops.convert_to_numpy(y)).all() for y in found
        ), f"NaN in {key} cannot be seen"
    for key, value in given.items():
        for kind in _numpy_kinds(value):
            same = flat(fn(**{**given, key: kind(value)}))
            for y, z in zip(outputs, same, strict=True):
                _assert_close(y, z)


def check_operation_of_integers(fn, given):
    """Integers give what the floats that they are give."""
    whole = {
        k: np.abs(3 * v).astype("int32") if _is_array(v, "f") else v
        for k, v in given.items()
    }
    floats = {
        k: v.astype("float32") if _is_array(v, "i") else v
        for k, v in whole.items()
    }
    for y, z in zip(flat(fn(**whole)), flat(fn(**floats)), strict=True):
        _assert_close(y, z)


def _is_array(x, kind):
    return isinstance(x, np.ndarray) and x.dtype.kind == kind


def _numpy_kinds(value):
    """Returns NumPy's types that hold a Python number or bool."""
    if type(value) is int and value < 0:
        return [np.int64, np.int32]
    return {
        bool: [np.bool_],
        int: [np.int64, np.int32, np.uint8],
        float: [np.float32, np.float64],
    }.get(type(value), [])


def _assert_close(y, z):
    y, z = ops.convert_to_numpy(y), ops.convert_to_numpy(z)
    np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-6)
