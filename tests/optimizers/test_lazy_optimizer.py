"""Article: https://kexue.fm/archives/6869"""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops
from keras.optimizers import SGD, Adam, AdamW

from su_models.optimizers import LazyOptimizer, Lookahead, PiecewiseLinear
from tests.optimizers.sparse import (
    BACKEND,
    DIM,
    IDS,
    JITS,
    ROWS,
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
each_moments = pytest.mark.parametrize("moments", ["frozen", "decayed"])
BETAS = 0.875, 0.96875  # which float32 holds exactly
# with what they need to be at work
OPTIMIZERS = {
    "SGD": {"momentum": 0.9, "nesterov": True},
    "RMSprop": {"momentum": 0.9, "centered": True},
    "Adam": {"amsgrad": True},
    "AdamW": {},
    "Adadelta": {},
    "Adagrad": {},
    "Adamax": {},
    "Adafactor": {},
    "Nadam": {},
    "Ftrl": {},
    "Lion": {},
    "Lamb": {},
    "Muon": {},
    "ScheduleFreeAdamW": {},
}
COUPLED = ["Lamb", "Adafactor", "Muon"]  # a row's step depends on others


class LazyAdam:
    """The article, one row after the other, and one counter for all."""

    def __init__(self, rate, moments, decay=0.0):
        self.rate, self.moments, self.decay = rate, moments, decay
        self.t, self.m, self.v = 0, np.zeros(START.shape), np.zeros(START.shape)

    def step(self, weight, g):
        self.t += 1
        b, c = BETAS
        rate = self.rate * np.sqrt(1 - c**self.t) / (1 - b**self.t)
        weight = weight.copy()
        for i in range(len(weight)):
            touched = (g[i] != 0).any()
            if touched or self.moments == "decayed":
                self.m[i] = b * self.m[i] + (1 - b) * g[i]
                self.v[i] = c * self.v[i] + (1 - c) * g[i] ** 2
            if touched:
                weight[i] -= self.rate * self.decay * weight[i]
                weight[i] -= rate * self.m[i] / (np.sqrt(self.v[i]) + 1e-7)
        return weight


class LazySGD:
    def __init__(self, rate=0.5, momentum=0.0):
        self.rate, self.momentum, self.m = rate, momentum, 0.0

    def step(self, weight, g):
        touched = (g != 0).any(axis=1, keepdims=True)
        m = self.momentum * self.m - self.rate * g
        self.m = np.where(touched, m, self.m)
        return np.where(touched, weight + self.m, weight)


class PlainLookahead:
    def __init__(self, inner, k, alpha):
        self.inner, self.k, self.alpha, self.t = inner, k, alpha, 0

    def step(self, weight, g):
        if self.t == 0:
            self.backup = weight
        weight = self.inner.step(weight, g)
        self.t += 1
        if self.t % self.k == 0:
            weight = self.backup + self.alpha * (weight - self.backup)
            self.backup = weight
        return weight


# ---- reference


@each_jit
@each_moments
def test_adam_in_fit_is_the_reference(moments, jit):
    got = fit(lookup(LazyOptimizer(Adam(0.05, *BETAS), moments), jit))
    near([got], train(LazyAdam(0.05, moments))[-1:])


# Adam's step for the second 1, ten steps of decay after the first
LAST = 1e-4 * (1 + 0.9**10) / np.sqrt(1e-3 * (1 + 0.999**10))
LAST *= np.sqrt(1 - 0.999**11) / (1 - 0.9**11)


@pytest.mark.parametrize(
    ("wrap", "end"),
    [
        (lambda adam: adam, 0.99535146),
        (LazyOptimizer, 0.99835210),
        (lambda adam: LazyOptimizer(adam, "decayed"), 1 - 1e-3 - LAST),
    ],
)
def test_ten_steps_of_which_nine_do_not_touch_the_row(wrap, end):
    """Gradients 1, nine times 0, 1: plain Adam moves all along."""
    weight, optimizer = table([[1.0], [1.0]]), wrap(Adam(1e-3))
    for g in [1.0, *[0.0] * 9, 1.0]:
        optimizer.apply([gradient([0, 1], [[g], [1.0]], 2)], [weight])
    np.testing.assert_allclose(to_numpy(weight)[0, 0], end, atol=1e-6)


# ---- claims


@each_jit
def test_other_rows_keep_weight_and_moments_bit_for_bit(jit):
    model = lookup(LazyOptimizer(AdamW(0.05, weight_decay=0.1)), jit)
    before = fit(model, 24)

    def moments():
        inner = model.optimizer.inner_optimizer
        return [to_numpy(v) for v in inner.variables if len(v.shape) == 2]

    kept = moments()
    after = fit(model, 26, 24)
    rows = np.setdiff1d(np.arange(ROWS), IDS[24:26])
    assert {7, 8, 9, 10} < {*rows}  # others had their turn before
    for a, b in zip([after, *moments()], [before, *kept], strict=True):
        np.testing.assert_array_equal(a[rows], b[rows])
        assert (a[IDS[24:26]] != b[IDS[24:26]]).all()


@each_moments
def test_decayed_moments_are_those_of_a_zero_gradient(moments):
    weight, twin = table(), table()
    optimizer = LazyOptimizer(Adam(0.1), moments)
    plain = Adam(0.1)
    for ids in ([1, 1, 4], [4, 5], [5]):
        g = np.ones((len(ids), DIM))
        optimizer.apply([gradient(ids, g)], [weight])
        plain.apply([ops.convert_to_tensor(summed(ids, g))], [twin])
    inner = optimizer.inner_optimizer
    pairs = zip(inner.variables, plain.variables, strict=True)
    same = [
        np.allclose(to_numpy(a), to_numpy(b), rtol=1e-5)
        for a, b in pairs
        if len(a.shape) == 2
    ]
    assert len(same) == 2 and all(same) == (moments == "decayed")
    assert (to_numpy(weight)[1] != to_numpy(twin)[1]).all()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_where_all_steps_touch_a_row_it_is_the_inner_optimizer(name):
    """Also of a row that is listed three times."""
    if name == "ScheduleFreeAdamW" and BACKEND != "jax":
        pytest.skip("Keras reads momentum after it was changed in place")

    def new():
        return getattr(keras.optimizers, name)(0.1, **OPTIMIZERS[name])

    ids, rest = np.array([3, 1, 3, 3]), np.setdiff1d(np.arange(ROWS), [1, 3])
    lazy, plain, lazy_weight, weight = (
        LazyOptimizer(new()),
        new(),
        table(),
        table(),
    )
    for seed in range(3):
        g = np.random.default_rng(seed).normal(size=(4, DIM))
        lazy.apply([gradient(ids, g)], [lazy_weight])
        plain.apply([ops.convert_to_tensor(summed(ids, g))], [weight])
    got, want = to_numpy(lazy_weight), to_numpy(weight)
    np.testing.assert_allclose(got[[1, 3]], want[[1, 3]], atol=1e-6)
    np.testing.assert_array_equal(got[rest], START[rest])
    assert (got[[1, 3]] != START[[1, 3]]).all()


@pytest.mark.parametrize("name", COUPLED)
def test_optimizers_that_see_the_whole_table_still_leave_rows(name):
    optimizer = LazyOptimizer(getattr(keras.optimizers, name)(0.1))
    weight = table()
    for ids in ([1, 4], [4]):
        before = to_numpy(weight).copy()
        optimizer.apply([gradient(ids, np.ones((len(ids), DIM)))], [weight])
        moved = (to_numpy(weight) != before).any(axis=1)
        np.testing.assert_array_equal(np.nonzero(moved)[0], ids)


@pytest.mark.parametrize("jit", JITS)
def test_padding_is_not_touched(jit):
    """A masked token is in the batch; its gradient is zero."""
    model = lookup(LazyOptimizer(Adam(0.1)), jit, mask_zero=True)
    assert (IDS[:4] == 0).any() and (IDS[:4] == 1).any()
    got = fit(model, 4)
    np.testing.assert_array_equal(got[0], START[0])
    assert (got[1] != START[1]).all()


@each_moments
def test_a_row_whose_gradients_cancel_is_not_touched(moments):
    weight, optimizer = table(), LazyOptimizer(Adam(0.1), moments)
    g = np.ones((3, DIM))
    optimizer.apply([gradient([1, 4, 4], g)], [weight])
    m = optimizer.inner_optimizer._momentums[0]
    before, kept = to_numpy(weight).copy(), to_numpy(m).copy()
    g[2] = -1
    optimizer.apply([gradient([1, 4, 4], g)], [weight])
    np.testing.assert_array_equal(to_numpy(weight)[4], before[4])
    assert (to_numpy(weight)[1] != before[1]).all()
    factor = 1.0 if moments == "frozen" else 0.9
    np.testing.assert_allclose(to_numpy(m)[4], factor * kept[4], rtol=1e-6)


def test_a_batch_without_ids_and_one_with_the_last_row():
    weight, optimizer = table(), LazyOptimizer(Adam(0.1))
    optimizer.apply([gradient([], np.zeros((0, DIM)))], [weight])
    near([weight], [START], atol=0)
    optimizer.apply([gradient([10, 10], np.ones((2, DIM)))], [weight])
    moved = (to_numpy(weight) != START).any(axis=1)
    assert moved.nonzero()[0].tolist() == [10]
    assert int(to_numpy(optimizer.iterations)) == 2


def test_rows_of_more_than_one_axis():
    weight = table(np.ones((4, 2, 3)))
    optimizer = LazyOptimizer(SGD(1.0, momentum=0.5))
    for _ in range(2):
        optimizer.apply([gradient([2, 2], np.ones((2, 2, 3)), 4)], [weight])
    want = np.ones((4, 2, 3))
    want[2] -= 2 + 3
    near([weight], [want])


@pytest.mark.parametrize(
    "clip", [{"clipnorm": 0.5}, {"clipvalue": 0.3}, {"global_clipnorm": 0.5}]
)
def test_clipping_takes_the_summed_gradient(clip):
    lazy, plain = LazyOptimizer(SGD(0.1, **clip)), SGD(0.1, **clip)
    ours, theirs = ([table(), keras.Variable(np.ones(2))] for _ in "12")
    g, bias = np.linspace(-1, 1, 4 * DIM).reshape(4, DIM), ops.ones(2)
    ids = [1, 1, 6, 1]
    lazy.apply([gradient(ids, g), bias], ours)
    plain.apply([ops.convert_to_tensor(summed(ids, g)), bias], theirs)
    near(ours, [to_numpy(v) for v in theirs])
    assert (to_numpy(ours[0])[6] != START[6]).any()


@each_jit
def test_weight_decay_is_for_touched_rows(jit):
    inner = AdamW(0.05, beta_1=BETAS[0], beta_2=BETAS[1], weight_decay=0.2)
    got = fit(lookup(LazyOptimizer(inner), jit))
    near([got], train(LazyAdam(0.05, "frozen", 0.2))[-1:])


def test_weight_decay_of_muon_is_its_own_for_tables():
    # of a table it is a part of the step that Muon leaves to Adam
    kwargs = {"adam_weight_decay": 0.5, "weight_decay": 0.0}
    lazy, plain = (keras.optimizers.Muon(0.1, **kwargs) for _ in "12")
    ours, theirs = table(), table()
    g = np.ones((2, DIM))
    LazyOptimizer(lazy).apply([gradient([1, 4], g)], [ours])
    plain.apply([ops.convert_to_tensor(summed([1, 4], g))], [theirs])
    near([to_numpy(ours)[[1, 4]]], [to_numpy(theirs)[[1, 4]]])
    near([to_numpy(ours)[[0, 2]]], [START[[0, 2]]], atol=0)


def test_excluded_from_weight_decay():
    optimizer = LazyOptimizer(SGD(0.1, weight_decay=0.5))
    optimizer.exclude_from_weight_decay(var_names=["embeddings"])
    weight, kernel = table(), keras.Variable([1.0], name="kernel")
    grads = [gradient([1], np.zeros((1, DIM)) + 1e-20), ops.zeros(1)]
    optimizer.apply(grads, [weight, kernel])
    near([weight, kernel], [START, [1 - 0.1 * 0.5]])


def test_schedules_count_all_steps():
    rate = PiecewiseLinear({0: 1, 5: 0.5}, 0.5)

    class Scheduled(LazySGD):
        t = 0

        def step(self, weight, g):
            self.rate, self.t = 0.5 * (1 - 0.1 * min(self.t, 5)), self.t + 1
            return super().step(weight, g)

    near([fit(lookup(LazyOptimizer(SGD(rate))))], train(Scheduled())[-1:])


@each_jit
def test_accumulated_gradients_touch_the_rows_of_all_their_batches(jit):
    inner = SGD(0.5, momentum=0.9, gradient_accumulation_steps=2)
    model = lookup(LazyOptimizer(inner), jit)
    got = fit(model, 24)
    near([got], train(LazySGD(0.5, 0.9), size=8, n=24)[-1:])
    np.testing.assert_array_equal(got[7:], START[7:])
    assert int(to_numpy(model.optimizer.iterations)) == 3


@each_jit
def test_moving_averages_go_over_all_rows(jit):
    inner = Adam(0.05, *BETAS, use_ema=True, ema_momentum=0.8)
    got = fit(lookup(LazyOptimizer(inner), jit))  # ends with the averages
    seen = train(LazyAdam(0.05, "frozen"))
    average = seen[0]
    for weight in seen[1:]:
        average = 0.8 * average + 0.2 * weight
    near([got], [average])


@each_jit
def test_loss_scaling_outside(jit):
    optimizer = keras.optimizers.LossScaleOptimizer(
        LazyOptimizer(Adam(0.05, *BETAS)), initial_scale=64.0
    )
    got = fit(lookup(optimizer, jit))
    near([got], train(LazyAdam(0.05, "frozen"))[-1:])


def test_fixed_loss_scale_inside():
    inner = Adam(0.05, *BETAS, loss_scale_factor=8.0)
    got = fit(lookup(LazyOptimizer(inner)))
    near([got], train(LazyAdam(0.05, "frozen"))[-1:])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = lookup(LazyOptimizer(Adam(0.05)))
    finally:
        keras.config.set_dtype_policy("float32")
    got = fit(model, epochs=5)
    assert np.isfinite(got).all() and (got[:7] != START[:7]).any()
    np.testing.assert_array_equal(got[7:], START[7:])


@each_jit
def test_lookahead_around_and_inside_are_the_same(jit):
    def adam():
        return Adam(0.05, *BETAS)

    around = fit(lookup(Lookahead(LazyOptimizer(adam()), 3), jit))
    inside = fit(lookup(LazyOptimizer(Lookahead(adam(), 3)), jit))
    plain = PlainLookahead(LazyAdam(0.05, "frozen"), 3, 0.5)
    want = train(plain)[-1]
    near([around, inside], [want, want])
    for got in around, inside:
        np.testing.assert_array_equal(got[7:], START[7:])


@pytest.mark.parametrize("inside", [False, True])
def test_in_and_around_a_multi_optimizer(inside):
    def multi(optimizer):
        choice = {".*embeddings": optimizer}
        choice = keras.optimizers.OptimizerMap(SGD(0.2), choice)
        return keras.optimizers.MultiOptimizer(choice)

    adam = Adam(0.05, *BETAS)
    optimizer = (
        multi(LazyOptimizer(adam)) if inside else LazyOptimizer(multi(adam))
    )
    got = fit(lookup(optimizer, JITS[-1]))
    near([got], train(LazyAdam(0.05, "frozen"))[-1:])


def test_other_variables_are_stepped_as_ever():
    """A dense kernel beside the table, and a gradient that is missing."""
    weight, kernel, none = table(), keras.Variable([1.0]), keras.Variable([1.0])
    lazy, plain = LazyOptimizer(Adam(0.1)), Adam(0.1)
    twin = keras.Variable([1.0])
    for g in (1.0, 0.0, 0.0):
        grads = [gradient([1], np.ones((1, DIM))), ops.array([g]), None]
        with pytest.warns(UserWarning, match="Gradients do not exist"):
            lazy.apply(grads, [weight, kernel, none])
        plain.apply([ops.array([g])], [twin])
    near([kernel, none], [to_numpy(twin), [1.0]])


# ---- which variables


def two_towers(optimizer):
    ids = keras.Input((5,), dtype="int32")
    user = keras.layers.Embedding(ROWS, DIM, name="user")
    item = keras.layers.Embedding(ROWS, DIM, name="item")
    both = keras.layers.Concatenate()([user(ids), item(ids)])
    out = keras.layers.Dense(DIM, name="out")(both)
    model = keras.Model(ids, keras.layers.GlobalAveragePooling1D()(out))
    model.compile(optimizer, "mse", jit_compile=JITS[0])
    return model


@pytest.mark.parametrize(
    ("choose", "lazy"),
    [
        (lambda m: None, {"user", "item"}),
        (lambda m: ["user"], {"user"}),
        (lambda m: ["user/embeddings"], {"user"}),
        (lambda m: [m.get_layer("item")], {"item"}),
        (lambda m: [m.get_layer("item").embeddings], {"item"}),
        (lambda m: ["out", "item"], {"item", "out"}),
        (lambda m: [], set()),
    ],
)
def test_embeddings_are_found_or_named(choose, lazy):
    model = two_towers("sgd")
    optimizer = LazyOptimizer(Adam(), embeddings=choose(model))
    optimizer.build(model.trainable_variables)
    found = [v for v in model.trainable_variables if id(v) in optimizer._tables]
    assert {v.path.split("/")[-2] for v in found} == lazy
    assert all(len(v.shape) == 2 for v in found)
    config = json.loads(json.dumps(optimizer.get_config()))
    again = LazyOptimizer.from_config(config)
    again.build(model.trainable_variables)
    assert again._tables == optimizer._tables


def test_a_table_that_is_not_lazy_gets_the_sum():
    ours, theirs = table(), table()
    lazy, plain = LazyOptimizer(Adam(0.1), embeddings=[]), Adam(0.1)
    for ids in ([1, 1, 4], [5, 5]):
        g = np.ones((len(ids), DIM))
        lazy.apply([gradient(ids, g)], [ours])
        plain.apply([ops.convert_to_tensor(summed(ids, g))], [theirs])
    near([ours], [to_numpy(theirs)])


# ---- state


@pytest.mark.parametrize("jit", JITS[-1:])
def test_resumed_from_a_file_equals_uninterrupted(jit, tmp_path):
    half = lookup(LazyOptimizer(Adam(0.05)), jit)
    fit(half, 12)
    half.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(again.optimizer, LazyOptimizer)
    got = fit(again, 28, 12)
    np.testing.assert_array_equal(got, fit(half, 28, 12))
    near([got], [fit(lookup(LazyOptimizer(Adam(0.05)), jit))], atol=0)


def test_resumed_by_set_weights():
    model, again = (lookup(LazyOptimizer(Adam(0.05))) for _ in "12")
    fit(model, 12)
    again.optimizer.build(again.trainable_variables)
    again.set_weights(model.get_weights())
    again.optimizer.set_weights(
        [to_numpy(v) for v in model.optimizer.variables]
    )
    near([fit(again, 28, 12)], [fit(model, 28, 12)], atol=0)


def test_the_inner_optimizer_is_left_as_it_is():
    inner = Adam(0.05)
    before = type(inner), {*dir(inner)}
    weight, optimizer = table(), LazyOptimizer(inner)
    optimizer.apply([gradient([1], np.ones((1, DIM)))], [weight])
    made = {"_momentums", "_velocities"}
    assert type(inner) is before[0] and {*dir(inner)} - before[1] <= made
    assert int(to_numpy(inner.iterations)) == 1
    inner.apply([gradient([1], np.zeros((1, DIM)))], [weight])  # still of use
    optimizer.learning_rate = 0.0
    kept = to_numpy(weight).copy()
    optimizer.apply([gradient([1], np.ones((1, DIM)))], [weight])
    near([weight], [kept], atol=0)


@pytest.mark.skipif(BACKEND != "jax", reason="stateless_apply is for JAX")
def test_stateless_apply_equals_apply():
    weight, twin = table(), table()
    stateful, stateless = (LazyOptimizer(AdamW(0.1)) for _ in "12")
    stateless.build([twin])
    weights, state = [twin.value], [v.value for v in stateless.variables]
    for ids in ([1, 1], [4], [1]):
        g = gradient(ids, np.ones((len(ids), DIM)))
        stateful.apply([g], [weight])
        weights, state = stateless.stateless_apply(state, [g], weights)
    near([weight], weights, atol=1e-7)
    near(stateful.variables, state, atol=1e-7)
    near([twin], [START], atol=0)  # nothing was assigned


# ---- cost


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX compiles for others")
@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_a_step_is_one_program_for(platform):
    import jax

    weight, optimizer = table(), LazyOptimizer(AdamW(0.1))
    optimizer.build([weight])
    state = [v.value for v in optimizer.variables]
    step = jax.jit(optimizer.stateless_apply)
    exported = jax.export.export(step, platforms=[platform])(
        state, [START], [weight.value]
    )
    assert exported.platforms == (platform,)
    assert "stablehlo.select" in exported.mlir_module()


@pytest.mark.skipif(
    BACKEND != "tensorflow", reason="other backends make dense gradients"
)
@pytest.mark.parametrize(
    ("name", "more"),
    [
        *((n, {}) for n in OPTIMIZERS if n not in COUPLED),
        ("Adam", {"clipnorm": 1.0}),
        ("Adam", {"clipvalue": 1.0}),
        ("Adam", {"global_clipnorm": 1.0}),
        ("Adam", {"loss_scale_factor": 8.0}),
    ],
)
def test_nothing_of_the_size_of_the_table_is_computed(name, more):
    import tensorflow as tf

    rows = 10007
    kwargs = {**OPTIMIZERS[name], "weight_decay": 0.1, **more}
    inner = getattr(keras.optimizers, name)(0.1, **kwargs)
    weight, optimizer = table(np.zeros((rows, DIM))), LazyOptimizer(inner)
    optimizer.build([weight])

    @tf.function
    def step(ids, values):
        shape = tf.constant([rows, DIM])
        optimizer.apply([tf.IndexedSlices(values, ids, shape)])

    graph = step.get_concrete_function(
        tf.TensorSpec((5,), "int32"), tf.TensorSpec((5, DIM), "float32")
    ).graph
    shapes = {
        tuple(output.shape)
        for op in graph.get_operations()
        for output in op.outputs
        if output.shape.rank
    }
    assert (5, DIM) in shapes and not any(rows in s for s in shapes)


MIRRORED = """
import keras, numpy as np, tensorflow as tf
from su_models.optimizers import LazyOptimizer, Lookahead, SummedGradients
from tests.optimizers.sparse import IDS, START, TARGETS, fit, lookup

cpus = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], cpus
)
cases = [
    lambda: LazyOptimizer(keras.optimizers.AdamW(0.05, weight_decay=0.1)),
    lambda: LazyOptimizer(keras.optimizers.Adam(0.05), "decayed"),
    lambda: Lookahead(LazyOptimizer(keras.optimizers.Nadam(0.05)), 3),
    lambda: LazyOptimizer(keras.optimizers.Lamb(0.05)),
    lambda: SummedGradients(keras.optimizers.Adam(0.05)),
]
for new in cases:
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = lookup(new(), False)
    assert strategy.num_replicas_in_sync == 2
    both, one = fit(model), fit(lookup(new(), False))
    print(np.abs(both - one).max(), np.abs(one - START).max())
    assert np.abs(both - one).max() < 1e-5 < np.abs(one - START).max()
    for v in model.optimizer.variables:
        first, second = strategy.experimental_local_results(v.value)
        assert (first.numpy() == second.numpy()).all()
"""


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute")
def test_two_replicas_are_one():
    """Both look up the same rows: theirs are summed too."""
    run = subprocess.run(
        [sys.executable, "-c", MIRRORED], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("\n") == 5


# ---- refusals


@pytest.mark.parametrize("moments", ["lazy", None, True])
def test_moments_are_one_of_two(moments):
    with pytest.raises(ValueError, match="Received: moments="):
        LazyOptimizer(Adam(), moments)


@pytest.mark.parametrize("embeddings", ["token", 3, [3], [""], [None]])
def test_embeddings_are_a_list_of_names(embeddings):
    with pytest.raises(ValueError, match="Received: embeddings="):
        LazyOptimizer(Adam(), embeddings=embeddings)


def test_an_unknown_name_lists_the_candidates():
    model = two_towers("sgd")
    optimizer = LazyOptimizer(Adam(), embeddings=["user", "items"])
    with pytest.raises(ValueError, match=r"'item/embeddings'.*'items'"):
        optimizer.build(model.trainable_variables)
    assert not optimizer.built and not optimizer.inner_optimizer.built


def test_loss_scaling_inside_is_refused():
    inner = keras.optimizers.LossScaleOptimizer(SGD())
    with pytest.raises(ValueError, match=r"LossScaleOptimizer\(LazyOptimizer"):
        LazyOptimizer(inner)


def test_arguments_of_the_inner_optimizer_are_refused():
    with pytest.raises(ValueError, match="inner .*Received: clipnorm=1.0"):
        LazyOptimizer(SGD(), clipnorm=1.0)
