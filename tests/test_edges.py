"""Every public name at the edges of its arguments: tests/contract/edges.py."""

import contextlib

import keras
import numpy as np
import pytest
from keras import ops

import su_models.ops
from su_models.backend.compile import compiled
from su_models.layers import (
    Embedding,
    FiniteScalarQuantizer,
    PositionEmbedding,
    TimestepEmbedding,
    VectorQuantizer,
)
from su_models.losses import (
    SmoothAccuracy,
    SparseMultilabelCrossentropy,
    TaiLrCrossentropy,
)
from su_models.models import build_ddpm
from tests.contract import CASES, arguments, edges, integers, normal
from tests.contract.layers import merging, recurrent
from tests.contract.training import _wrapped

BACKEND = keras.config.backend()
LAYERS = pytest.mark.parametrize("name", CASES["layers"])
MODELS = pytest.mark.parametrize("name", CASES["models"])
EVERY = pytest.mark.parametrize(("room", "name"), edges.each_case(*CASES))
# cells are called by `keras.layers.RNN`, merging layers with a list
PLAIN = pytest.mark.parametrize(
    "name",
    [n for n, c in CASES["layers"].items() if not (c.cell or c.merges)],
)


def maker(room, name):
    """Returns what makes an object of a public name from its arguments."""
    target = edges.public_object(room, name)
    if room != "training":
        return target
    model = _wrapped(target, CASES[room][name].init)[1]
    return lambda **given: target(model, **given)


def layer_maker(name):
    """Returns a function that makes a layer, the same at every call."""
    case, cls = CASES["layers"][name], edges.public_object("layers", name)
    cls = recurrent(cls) if case.cell else merging(cls) if case.merges else cls

    def new(**more):
        keras.utils.set_random_seed(1)
        return cls(**{**arguments(case.init), **more})

    return new, edges.inputs_of(case)


@EVERY
def test_arguments_without_sense_are_rejected(room, name):
    target, init = edges.public_object(room, name), CASES[room][name].init
    edges.check_arguments(name, target, init, maker(room, name))


@EVERY
def test_numbers_of_numpy_are_numbers(room, name):
    target, init = edges.public_object(room, name), CASES[room][name].init
    edges.check_numpy_arguments(target, init, maker(room, name))


@LAYERS
def test_indices_that_do_not_exist_are_rejected(name):
    new, inputs = layer_maker(name)
    edges.check_indices_exist(name, new(), inputs)


@LAYERS
def test_no_input_is_repeated_to_fit_another(name):
    new, inputs = layer_maker(name)
    edges.check_no_broadcast(name, new(), inputs)


@LAYERS
def test_the_number_of_features_stays(name):
    new, inputs = layer_maker(name)
    edges.check_features_stay(name, new(), inputs)


@LAYERS
def test_nan_stays_nan(name):
    new, inputs = layer_maker(name)
    edges.check_nan_is_seen(name, new(), inputs)


@PLAIN
def test_masks_of_floats_are_rejected(name):
    new, inputs = layer_maker(name)
    edges.check_masks_are_boolean(new(), inputs)


@PLAIN
def test_flags_of_a_call_are_bools(name):
    new, inputs = layer_maker(name)
    edges.check_call_flags(new(), inputs)


@PLAIN
def test_promised_shapes_are_kept(name):
    new, inputs = layer_maker(name)
    edges.check_output_shape(new(), inputs)


@PLAIN
def test_h5_gives_the_layer_back(name, tmp_path):
    new, inputs = layer_maker(name)
    edges.check_h5(new(), inputs, tmp_path / "net.h5")


@PLAIN
def test_each_step_of_a_longer_sequence(name):
    new, inputs = layer_maker(name)
    if len(inputs) == 1 and inputs[0].ndim > 1:  # Keras wants three axes
        edges.check_time_distributed(new(), inputs[0])


@LAYERS
def test_integers_are_not_rounded(name):
    new, inputs = layer_maker(name)
    edges.check_integers_are_not_rounded(name, new, inputs)


@pytest.fixture
def x64():
    """64-bit numbers, which JAX has where they are switched on alone."""
    with contextlib.ExitStack() as stack:
        if BACKEND == "jax":
            import jax

            stack.enter_context(jax.enable_x64(True))
        yield


@LAYERS
def test_float64_is_kept(name, x64):
    new, inputs = layer_maker(name)
    edges.check_float64(name, lambda: new(dtype="float64"), inputs)


@pytest.mark.skipif(BACKEND != "jax", reason="the others always have 64 bits")
@LAYERS
def test_float32_is_kept_where_jax_has_64_bits(name):
    new, inputs = layer_maker(name)
    edges.check_dtypes_with_64_bits(new(), inputs)


@pytest.mark.parametrize("name", CASES["losses"])
def test_losses_at_the_edges(name):
    case = CASES["losses"][name]
    loss = edges.public_object("losses", name)(**arguments(case.init))
    edges.check_loss_edges(name, loss, *case.inputs)


@MODELS
def test_models_at_the_edges(name):
    case = CASES["models"][name]
    build = edges.public_object("models", name)
    inputs = edges.inputs_of(case)
    model = build(**arguments(case.init))

    def call(*given):
        return model(given[0] if len(given) == 1 else list(given))

    edges.check_indices_exist(name, call, inputs)
    edges.check_no_broadcast(name, call, inputs)
    edges.check_nan_is_seen(name, call, inputs)


@pytest.mark.parametrize("name", CASES["regularizers"])
def test_regularizers_see_nan(name):
    case = CASES["regularizers"][name]
    kernel = case.inputs.copy()
    kernel[1, 1] = np.nan
    cls = edges.public_object("regularizers", name)
    penalty = cls(**arguments(case.init))(ops.convert_to_tensor(kernel))
    assert not np.isfinite(ops.convert_to_numpy(penalty))


@pytest.mark.parametrize("name", CASES["sampling"])
def test_samplers_at_the_edges(name):
    case = CASES["sampling"][name]
    sampler = edges.public_object("sampling", name)(**arguments(case.init))
    edges.check_sampler_edges(sampler, case.inputs)


def test_every_operation_has_a_call():
    assert set(edges.OPERATIONS) == set(su_models.ops.__all__)


@pytest.mark.parametrize("name", edges.OPERATIONS)
def test_operations_at_the_edges(name):
    fn, given = getattr(su_models.ops, name), edges.OPERATIONS[name]
    edges.check_operation(name, fn, given)


# those that are given indices, or probabilities, are not given whole floats
@pytest.mark.parametrize(
    "name",
    sorted(
        set(edges.OPERATIONS)
        - {"codebook_perplexity", "prefix_mask", "minimize_over_simplex"}
    ),
)
def test_operations_of_integers(name):
    fn, given = getattr(su_models.ops, name), edges.OPERATIONS[name]
    edges.check_operation_of_integers(fn, given)


@pytest.mark.skipif(
    BACKEND == "torch", reason="values are known, so it is an error there"
)
def test_what_does_not_exist_is_nan_where_it_is_not_known():
    """All look-ups in one program: right at right indices, NaN elsewhere."""
    ddpm = build_ddpm(**arguments(CASES["models"]["build_ddpm"].init))
    image = ops.convert_to_tensor(normal(3, 8, 12, 2))
    row = np.zeros((3, 7, 6), "float32")
    codes, scores = VectorQuantizer(5), normal(3, 9)
    codes(row)
    levels = FiniteScalarQuantizer([5, 4, 2])
    layers = [
        (Embedding(9, 4), 0, 9),
        (TimestepEmbedding(12, 6), 1, 13),
        (lambda i: ddpm([image, i]), 1, 13),
        (codes.lookup, 0, 5),
        (levels.lookup, 0, 40),
        (SmoothAccuracy(), 0, 9),
        (TaiLrCrossentropy(0.3), 0, 9),
        (SparseMultilabelCrossentropy(), None, 9),
    ]
    positions = PositionEmbedding(3), PositionEmbedding(3, hierarchical=0.3)
    for layer, end in zip(positions, (3, 9), strict=True):
        layer(row[:, :3])
        layers.append((layer, 0, end))

    def looked_up(layer, i):
        if isinstance(layer, keras.losses.Loss):
            listed = isinstance(layer, SparseMultilabelCrossentropy)
            return layer(i[:, None] if listed else i, scores)
        if isinstance(layer, PositionEmbedding):
            return layer(row[:, :3], positions=i)
        return layer(i)

    def every(indices):
        return [
            looked_up(layer, i)
            for (layer, *_), i in zip(layers, indices, strict=True)
        ]

    program = compiled(every)
    for shift in (0, -1, 1):
        indices = []
        for _, first, end in layers:
            edge = (end - 1) if shift == 1 or first is None else first
            move = 0 if first is None and shift < 0 else shift
            indices.append(np.array([1, 1, edge + move], "int32"))
        for (layer, first, _), y in zip(layers, program(indices), strict=True):
            finite = np.isfinite(ops.convert_to_numpy(y)).all()
            wrong = shift > 0 or (shift < 0 and first is not None)
            assert finite != wrong, (layer, shift)


# ---- the checks can fail: one fault each, and the words of its rejection


GIVEN = {"units": 3, "rate": 0.5, "flag": False}
IDS = (integers(9, 2, 3),)


class Careless(keras.layers.Layer):
    """Takes everything."""

    def __init__(self, units=3, rate=0.5, flag=False, **kwargs):
        super().__init__(**kwargs)
        self.units, self.rate, self.flag = units, rate, flag

    def call(self, inputs, other=None, mask=None, flag=False):
        other = inputs if other is None else other
        return ops.cast(ops.nan_to_num(inputs + other), "float32")

    def compute_output_shape(self, input_shape, *others):
        return (*input_shape[:-1], 1)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (lambda x: edges.check_arguments("", Careless, GIVEN), "in silence"),
        (lambda x: edges.check_numpy_arguments(Careless, GIVEN), "JSON"),
        (lambda x: edges.check_no_broadcast("", Careless(), (x, x)), "batch 1"),
        (lambda x: edges.check_nan_is_seen("", Careless(), (x,)), "be seen"),
        (lambda x: edges.check_masks_are_boolean(Careless(), (x,)), "mask of"),
        (lambda x: edges.check_call_flags(Careless(), (x,)), "flag='False'"),
        (lambda x: edges.check_output_shape(Careless(), (x,)), "assert"),
        (
            lambda x: edges.check_indices_exist(
                "", Careless(), (integers(9, 2, 3),)
            ),
            "index -1",
        ),
    ],
)
def test_careless_layer_is_caught(check, words):
    with pytest.raises((AssertionError, TypeError), match=words):
        check(normal(2, 7, 6))


class Rounds(keras.layers.Layer):
    def call(self, inputs):
        return ops.cast(ops.cast(inputs, "float32"), self.compute_dtype)


def test_rounding_layer_is_caught(x64):
    with pytest.raises(AssertionError, match="is lost|Not equal"):
        edges.check_float64(
            "", lambda: Rounds(dtype="float64"), (normal(2, 7, 6),)
        )
