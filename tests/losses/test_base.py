"""What all losses do: check targets and weights, and sum in float32."""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import compiled, gradient
from su_models.losses import (
    MultilabelCrossentropy,
    SmoothAccuracy,
    SmoothF1,
    SparseMultilabelCrossentropy,
    TaiLrCrossentropy,
)
from su_models.losses.base import match_labels
from tests.contract import JIT, integers, normal, to_numpy
from tests.long_sums import sum_in
from tests.marks import needs_float64

LABELS, LOGITS = integers(4, 5), normal(5, 4)
SHARES = integers(2, 5, 4).astype("float32")
LISTS = integers(4, 5, 3)
NAN = float("nan")
OF_LABELS = [
    SmoothAccuracy(),
    TaiLrCrossentropy(0.3),
    TaiLrCrossentropy(0.3, min_weight=0.2, label_smoothing=0.1),
]
OF_SHARES = [MultilabelCrossentropy(), SmoothF1(), SmoothF1("micro")]
ALL = [
    *((loss, LABELS) for loss in OF_LABELS),
    *((loss, SHARES) for loss in OF_SHARES),
    (SparseMultilabelCrossentropy(), LISTS),
]
each_loss = pytest.mark.parametrize(("loss", "y"), ALL)
each_label_loss = pytest.mark.parametrize("loss", OF_LABELS)
each_share_loss = pytest.mark.parametrize("loss", OF_SHARES)
only_compiled = pytest.mark.skipif(not JIT, reason="PyTorch is not compiled")


def changed(loss, **more):
    """Returns the same loss with other arguments."""
    return type(loss).from_config({**loss.get_config(), **more})


def call_compiled(loss, *args):
    return to_numpy(compiled(lambda *args: loss(*args))(*args))


# ---- shapes


@each_share_loss
@pytest.mark.parametrize(
    "shape", [(5, 1), (1, 4), (1, 1), (4,), (5,), (5, 4, 1)]
)
def test_targets_of_another_shape_are_refused(loss, shape):
    y = np.resize(SHARES, shape)
    with pytest.raises(ValueError, match="Received: y_true=.*, y_pred="):
        loss(y, LOGITS)
    with pytest.raises(ValueError, match="Received: y_true=.*, y_pred="):
        # a weight does not hide it
        loss(y, LOGITS, sample_weight=np.ones(5))


@each_label_loss
@pytest.mark.parametrize("shape", [(1,), (4,), (1, 1), (5, 4), (1, 5), ()])
def test_labels_of_another_shape_are_refused(loss, shape):
    with pytest.raises(ValueError, match="Received: y_true=.*, y_pred="):
        loss(np.resize(LABELS, shape), LOGITS)


@pytest.mark.parametrize(
    ("y", "x"),
    [((2, 5, 3), (5, 2, 4)), ((1, 3), (5, 4)), ((5, 1, 3), (5, 2, 4))],
)
def test_lists_of_another_shape_are_refused(y, x):
    with pytest.raises(ValueError, match="`y_true` must .*Received: "):
        SparseMultilabelCrossentropy()(np.zeros(y), normal(*x))


@pytest.mark.parametrize("dtype", ["int64", "float32", "uint8"])
def test_labels_may_have_an_axis_of_size_1_and_any_dtype(dtype):
    loss = SmoothAccuracy()
    expected = to_numpy(loss(LABELS, LOGITS))
    for y in (LABELS, LABELS[:, None]):
        np.testing.assert_array_equal(
            to_numpy(loss(y.astype(dtype), LOGITS)), expected
        )
    # not where it is a position
    y, x = LABELS[:, None], normal(5, 1, 4)
    assert match_labels(ops.convert_to_tensor(y), x).shape == (5, 1)


@each_loss
@pytest.mark.parametrize("shape", [(1,), (4,), (1, 1), (5, 4, 1), (1, 4)])
def test_weights_of_another_shape_are_refused(loss, y, shape):
    with pytest.raises(ValueError, match="Received: sample_weight="):
        loss(y, LOGITS, sample_weight=np.ones(shape))


@each_loss
def test_weights_of_samples(loss, y):
    weight = np.array([1.0, 0.0, 2.0, 0.5, 1.0])
    expected = to_numpy(loss(y, LOGITS, sample_weight=weight))
    column = to_numpy(loss(y, LOGITS, sample_weight=weight[:, None]))
    np.testing.assert_allclose(column, expected, rtol=1e-6)
    one = to_numpy(loss(y, LOGITS, sample_weight=1.0))
    np.testing.assert_allclose(one, to_numpy(loss(y, LOGITS)), rtol=1e-6)
    assert abs(expected - one) > 1e-3


def test_a_weight_of_a_sequence_weighs_all_its_positions():
    # as many positions as samples: Keras' base class weighs the positions
    y, x = integers(4, 3, 3), normal(3, 3, 4)
    loss = SmoothAccuracy(reduction=None)
    weight = np.array([1.0, 2.0, 3.0])
    got = to_numpy(loss(y, x, sample_weight=weight))
    expected = to_numpy(loss(y, x)) * weight[:, None]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


# ---- class numbers


@each_label_loss
@pytest.mark.parametrize("label", [-1, 4, -100, 2**32, 1.5, NAN])
def test_labels_that_are_no_class_are_refused(loss, label):
    y = np.array([0, label, 1, 2, 3])
    words = "`y_true` must be integers from 0 to 3. Received: y_true with"
    with pytest.raises(ValueError, match=words):
        loss(y, LOGITS)


@pytest.mark.parametrize("label", [4, 2**32, 1.5, NAN])
def test_listed_labels_that_are_no_class_are_refused(label):
    y = np.array([[0, label], [1, 2], [3, -1], [-1, -7], [0, 0]])
    with pytest.raises(ValueError, match="Received: y_true with"):
        SparseMultilabelCrossentropy()(y, LOGITS)


@only_compiled
@each_label_loss
def test_the_loss_of_what_is_no_class_is_nan_when_compiled(loss):
    y = np.array([-1, 4, 0, 1.5, NAN], "float32")
    got = call_compiled(changed(loss, reduction=None), y, LOGITS)
    assert np.isnan(got).tolist() == [True, True, False, True, True]


@only_compiled
def test_the_loss_of_a_list_with_no_class_is_nan_when_compiled():
    y = np.array([[0, 4], [1, 2], [1.5, -1], [-1, -7], [NAN, 0]], "float32")
    got = call_compiled(SparseMultilabelCrossentropy(reduction=None), y, LOGITS)
    assert np.isnan(got).tolist() == [True, False, True, False, True]


def test_labels_of_an_unknown_number_of_classes():
    """Where a softmax is over the positions of a sequence."""
    x = keras.Input((None,))
    net = keras.Model(x, keras.layers.Identity()(x))
    net.compile("sgd", SmoothAccuracy(), jit_compile=False)
    expected = to_numpy(SmoothAccuracy()(LABELS, LOGITS))
    got = net.evaluate(LOGITS, LABELS, verbose=0)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


# ---- ignore_class


@pytest.mark.parametrize("ignore", [-100, 2, 255])
@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", None])
@each_label_loss
def test_ignored_targets_are_left_out(loss, ignore, reduction):
    ours = changed(loss, ignore_class=ignore, reduction=reduction)
    y = np.array([0, ignore, 1, ignore, 3])
    kept = y != ignore
    each = to_numpy(changed(loss, reduction=None)(np.where(kept, y, 0), LOGITS))
    each = np.where(kept, each, 0)
    expected = {
        "sum_over_batch_size": each.sum() / 3,
        "sum": each.sum(),
        None: each,
    }[reduction]
    np.testing.assert_allclose(to_numpy(ours(y, LOGITS)), expected, rtol=1e-5)
    if JIT:
        again = call_compiled(ours, y.astype("float32"), LOGITS)
        np.testing.assert_allclose(again, expected, rtol=1e-5)


def test_ignored_cross_entropy_is_that_of_keras():
    y = np.array([[0, -100, 1], [2, 3, -100]])
    x, weight = normal(2, 3, 4), np.array([[1.0, 1, 2], [0.5, 1, 1]])
    for more in ({}, {"sample_weight": weight}):
        ours, theirs = (
            to_numpy(loss(y, x, **more))
            for loss in (
                TaiLrCrossentropy(0.0, ignore_class=-100),
                keras.losses.SparseCategoricalCrossentropy(
                    from_logits=True, ignore_class=-100
                ),
            )
        )
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@each_label_loss
def test_what_is_predicted_for_ignored_targets_may_be_nan(loss):
    ours = changed(loss, ignore_class=-1)
    y = np.array([0, -1, 1, 2, 3])
    x = LOGITS.copy()
    x[1] = np.nan
    expected = to_numpy(ours(y, LOGITS))
    np.testing.assert_allclose(to_numpy(ours(y, x)), expected, rtol=1e-6)
    g = to_numpy(gradient(lambda x: ours(y, x), x))
    assert np.isfinite(g).all() and (g[1] == 0).all()


@pytest.mark.parametrize("ignore", [-5, 2, 255])
def test_an_ignored_label_of_a_list_is_in_neither_sum(ignore):
    y = np.array([[0, ignore], [ignore, ignore], [3, 1], [-1, -1], [1, ignore]])
    ours = SparseMultilabelCrossentropy(ignore_class=ignore, reduction=None)
    dense = np.zeros((5, 4))
    for row, labels in zip(dense, y, strict=True):
        row[[k for k in labels if 0 <= k < 4 and k != ignore]] = 1
    kept = np.arange(4) != ignore
    theirs = MultilabelCrossentropy(reduction=None)
    expected = to_numpy(theirs(dense[:, kept], LOGITS[:, kept]))
    np.testing.assert_allclose(to_numpy(ours(y, LOGITS)), expected, rtol=1e-6)


@pytest.mark.parametrize("ignore", ["-1", 1.5, True])
def test_what_is_no_class_is_not_ignored(ignore):
    for loss in (*OF_LABELS, SparseMultilabelCrossentropy()):
        with pytest.raises(ValueError, match="Received: ignore_class="):
            changed(loss, ignore_class=ignore)


# ---- what is left out is not looked at


@pytest.mark.parametrize("jit", [True, False] if JIT else [False])
@pytest.mark.parametrize("padding", [-100, 4, NAN])
@pytest.mark.parametrize("kind", ["labels", "shares", "f1", "lists"])
def test_targets_of_masked_positions_may_be_anything(kind, padding, jit):
    loss, y = {
        "labels": (SmoothAccuracy(), integers(4, 2, 5)),
        "shares": (MultilabelCrossentropy(), integers(2, 2, 5, 4)),
        "f1": (SmoothF1(), integers(2, 2, 5, 4)),
        "lists": (SparseMultilabelCrossentropy(), integers(4, 2, 5, 2)),
    }[kind]
    ids = np.array([[3, 4, 0, 0, 0], [1, 2, 3, 0, 0]])
    inputs = keras.Input((5,), dtype="int32")
    embed = keras.layers.Embedding(5, 4, mask_zero=True)
    net = keras.Model(inputs, embed(inputs))
    x = to_numpy(net(ids))
    expected = to_numpy(loss(y[ids > 0], x[ids > 0]))
    wrong = y.astype("float32")
    wrong[ids == 0] = padding
    got = to_numpy(loss(wrong, net(ids)))
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    net.compile("sgd", loss, jit_compile=jit)
    got = net.evaluate(ids, wrong, verbose=0)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@each_loss
@pytest.mark.parametrize("padding", [-100, 9, NAN])
def test_targets_of_weight_0_may_be_anything(loss, y, padding):
    weight = np.array([1.0, 0.0, 2.0, 0.0, 1.0], "float32")
    expected = to_numpy(loss(y, LOGITS, sample_weight=weight))
    wrong = y.astype("float32")
    wrong[weight == 0] = padding
    got = to_numpy(loss(wrong, LOGITS, sample_weight=weight))
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    if JIT:
        got = call_compiled(loss, wrong, LOGITS, weight)
        np.testing.assert_allclose(got, expected, rtol=1e-5)


OF_PROBABILITIES = [
    (changed(loss, from_logits=False), y)
    for loss, y in ALL
    if "from_logits" in loss.get_config()
]


@pytest.mark.parametrize(("loss", "y"), OF_PROBABILITIES)
def test_predictions_of_weight_0_may_be_no_probabilities(loss, y):
    weight = np.array([1.0, 0.0, 2.0, 0.0, 1.0], "float32")
    p = to_numpy(ops.softmax(LOGITS))
    expected = to_numpy(loss(y, p, sample_weight=weight))
    wrong = p.copy()
    wrong[weight == 0] = [5.0, -3.0, 0.1, 2.0]
    got = to_numpy(loss(y, wrong, sample_weight=weight))
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    if JIT:
        got = call_compiled(loss, y, wrong, weight)
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="numbers from 0 to 1. Received: "):
        loss(y, wrong)


@pytest.mark.parametrize("jit", [True, False] if JIT else [False])
@pytest.mark.parametrize("labels", [True, False])
def test_predictions_that_are_masked_may_be_no_probabilities(labels, jit):
    loss = (SmoothAccuracy if labels else SmoothF1)(from_logits=False)
    y = integers(4, 2, 5) if labels else integers(2, 2, 5, 4)
    ids = np.array([[3, 4, 0, 0, 0], [1, 2, 3, 0, 0]])
    inputs = keras.Input((5,), dtype="int32")
    embed = keras.layers.Embedding(5, 4, mask_zero=True)
    net = keras.Model(inputs, embed(inputs))
    table = to_numpy(ops.softmax(LOGITS))
    table[0] = [5.0, -3.0, 0.1, 2.0]
    embed.set_weights([table])
    expected = to_numpy(loss(y[ids > 0], table[ids[ids > 0]]))
    got = to_numpy(loss(y, net(ids)))
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    net.compile("sgd", loss, jit_compile=jit)
    got = net.evaluate(ids, y, verbose=0)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


# ---- shares


@each_share_loss
@pytest.mark.parametrize("value", [NAN, -0.5, 1.5, float("inf")])
def test_targets_that_are_no_shares_are_an_error_or_nan(loss, value):
    y = SHARES.copy()
    y[1, 2] = value
    with pytest.raises(ValueError, match="numbers from 0 to 1. Received: "):
        loss(y, LOGITS)
    if JIT:
        assert np.isnan(call_compiled(loss, y, LOGITS))


@each_share_loss
def test_targets_that_were_mixed_are_shares(loss):
    y = SHARES + np.float32(1e-6)
    expected = to_numpy(loss(SHARES, LOGITS))
    np.testing.assert_allclose(to_numpy(loss(y, LOGITS)), expected, rtol=1e-3)


@each_loss
def test_nan_in_what_is_predicted_is_seen(loss, y):
    for place in np.ndindex(LOGITS.shape):
        x = LOGITS.copy()
        x[place] = np.nan
        assert np.isnan(to_numpy(loss(y, x))), place


# ---- arguments


@pytest.mark.parametrize("flag", ["False", None, 0, 1])
def test_what_is_no_flag_is_refused(flag):
    for loss in (*OF_LABELS, SmoothF1()):
        with pytest.raises(ValueError, match=f"from_logits={flag!r}"):
            changed(loss, from_logits=flag)
    with pytest.raises(ValueError, match=f"mask_zero={flag!r}"):
        SparseMultilabelCrossentropy(mask_zero=flag)


def test_numpy_flags_and_numbers():
    loss = TaiLrCrossentropy(
        np.float32(0.25),
        np.float64(0.5),
        np.float16(0.125),
        from_logits=np.False_,
        ignore_class=np.int64(-1),
    )
    config = loss.get_config()
    names = "gamma", "min_weight", "label_smoothing"
    assert [config[n] for n in names] == [0.25, 0.5, 0.125]
    assert {type(config[n]) for n in names} == {float}
    assert type(config["from_logits"]) is bool
    assert type(config["ignore_class"]) is int


@needs_float64
@each_loss
def test_float64_is_kept(loss, y):
    # without a reduction: that of Keras makes float32 of it on PyTorch
    wide = changed(loss, dtype="float64", reduction=None)
    value = wide(y, LOGITS.astype("float64"))
    assert keras.backend.standardize_dtype(value.dtype) == "float64"
    value = ops.convert_to_numpy(value)
    assert (value != value.astype("float32").astype("float64")).all()
    expected = to_numpy(changed(loss, reduction=None)(y, LOGITS))
    np.testing.assert_allclose(value, expected, rtol=1e-5)


# ---- precision

each_half = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
CLASSES = 3000
LOSSES = {
    "MultilabelCrossentropy": (MultilabelCrossentropy, {}),
    "SmoothAccuracy": (SmoothAccuracy, {"from_logits": False}),
    "SmoothF1": (SmoothF1, {"from_logits": False, "average": "micro"}),
    "SparseMultilabelCrossentropy": (SparseMultilabelCrossentropy, {}),
    "TaiLrCrossentropy": (TaiLrCrossentropy, {"gamma": 0.1}),
}


def batch(name, dtype):
    """Returns targets, numbers of classes among them, and predictions."""
    y_pred = ops.cast(0.1 * np.abs(normal(5, CLASSES)) + 0.2, dtype)
    numbers = np.array([[2999], [2051], [0], [7], [1025]])
    if name in ("MultilabelCrossentropy", "SmoothF1"):
        return np.eye(CLASSES, dtype="float32")[numbers[:, 0]], y_pred
    return numbers, y_pred


@each_half
@pytest.mark.parametrize("name", LOSSES)
def test_only_the_result_has_the_dtype_asked_for(name, dtype):
    cls, init = LOSSES[name]
    y_true, y_pred = batch(name, dtype)
    low = cls(**init, dtype=dtype)(y_true, y_pred)
    assert keras.backend.standardize_dtype(low.dtype) == dtype
    exact = to_numpy(cls(**init)(y_true, y_pred))
    unit = 2.0 ** (-11 if dtype == "float16" else -8)
    low = to_numpy(ops.cast(low, "float32"))
    np.testing.assert_allclose(low, exact, rtol=unit)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64", None])
def test_dtype_may_be_a_policy(policy):
    if keras.config.backend() == "jax" and policy == "float64":
        pytest.skip("JAX has float64 where it is switched on alone")
    dtype = policy and keras.DTypePolicy(policy)
    loss = SmoothAccuracy(dtype=dtype)([1], [[0.0, 0.0]])
    expected = {"mixed_bfloat16": "bfloat16", "float64": "float64"}
    found = keras.backend.standardize_dtype(loss.dtype)
    assert found == expected.get(policy, "float32")


def test_sum_over_a_batch_does_not_overflow():
    """Keras would reduce in the dtype of the loss."""
    n = 9000
    y_pred = np.zeros((n, 2), "float16")
    y_pred[:, 0] = -10
    each = 10 + np.log1p(np.exp(-10))
    loss = TaiLrCrossentropy(0.0, dtype="float16")
    np.testing.assert_allclose(
        to_numpy(ops.cast(loss(np.zeros(n), y_pred), "float32")), each, 2e-3
    )
    assert n * each > np.finfo("float16").max
    assert sum_in("float16", np.full(n, each)) / n < each / 2
