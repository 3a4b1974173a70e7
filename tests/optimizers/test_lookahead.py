"""Article: https://kexue.fm/archives/6869"""

import functools
import json

import keras
import numpy as np
import pytest
from keras import ops
from keras.optimizers import SGD, Adam

from su_models.optimizers import Lookahead

BACKEND = keras.backend.backend()
# JAX without jit runs op by op: true to the reference, but slow
JITS = {"tensorflow": [False, True], "jax": [True], "torch": [False]}[BACKEND]
each_jit = pytest.mark.parametrize("jit", JITS)


def normal(*shape, seed=0):
    x = np.random.default_rng(seed).normal(size=shape)
    return x.astype("float32")


X, Y = normal(4 * 17, 3, seed=1), normal(4 * 17, 2, seed=2)  # 17 batches


def mlp(optimizer, jit=JITS[0], **kwargs):
    """Returns a compiled 3 - 5 - 2 network, always of the same weights."""
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(5, activation="tanh", name="hidden", **kwargs)
    outputs = keras.layers.Dense(2, name="out")(hidden(inputs))
    model = keras.Model(inputs, outputs)
    shapes = [w.shape for w in model.weights]
    model.set_weights([normal(*s, seed=i) for i, s in enumerate(shapes)])
    model.compile(optimizer, "mse", jit_compile=jit)
    return model


def fit(model, x=X, y=Y, **kwargs):
    kwargs = {"batch_size": 4, "shuffle": False, "verbose": 0, **kwargs}
    model.fit(x, y, **kwargs)
    return [to_numpy(w) for w in model.trainable_variables]


def to_numpy(x):
    return ops.convert_to_numpy(x)


def near(got, want, atol=1e-6):
    """Asserts equality but for the rounding of some twenty steps."""
    rtol = 20 * 2.0**-24
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(to_numpy(a), b, rtol=rtol, atol=atol)


# ---- the reference: everything by hand, in float64


def slopes(weights, x, y):
    """Returns the gradients of the mean squared error of `mlp`."""
    w1, b1, w2, b2 = weights
    h = np.tanh(x @ w1 + b1)
    d = 2 * (h @ w2 + b2 - y) / y.size
    e = d @ w2.T * (1 - h**2)
    return [x.T @ e, e.sum(axis=0), h.T @ d, d.sum(axis=0)]


class PlainSGD:
    def __init__(self, rate=0.1):
        self.rate = rate

    def step(self, weights, gradients):
        pairs = zip(weights, gradients, strict=True)
        return [w - self.rate * g for w, g in pairs]


class PlainAdam:
    def __init__(self, rate, beta1, beta2, epsilon=1e-7):
        self.rate, self.betas, self.epsilon = rate, (beta1, beta2), epsilon
        self.t, self.m, self.v = 0, 0.0, 0.0

    def step(self, weights, gradients):
        self.t += 1
        b1, b2 = self.betas
        g = np.concatenate([g.ravel() for g in gradients])
        self.m = b1 * self.m + (1 - b1) * g
        self.v = b2 * self.v + (1 - b2) * g**2
        rate = self.rate * np.sqrt(1 - b2**self.t) / (1 - b1**self.t)
        flat = rate * self.m / (np.sqrt(self.v) + self.epsilon)
        ends = np.cumsum([w.size for w in weights])[:-1]
        parts = np.split(flat, ends)
        return [
            w - p.reshape(w.shape) for w, p in zip(weights, parts, strict=True)
        ]


class PlainLookahead:
    """The article's three steps as they stand."""

    def __init__(self, inner, k, alpha):
        self.inner, self.k, self.alpha, self.t = inner, k, alpha, 0

    def step(self, weights, gradients):
        if self.t == 0:
            self.backup = weights
        weights = self.inner.step(weights, gradients)
        self.t += 1
        if self.t % self.k == 0:
            weights = [
                a + self.alpha * (b - a)
                for a, b in zip(self.backup, weights, strict=True)
            ]
            self.backup = weights
        return weights


def batches(size=4, x=X, y=Y):
    for i in range(0, len(x), size):
        yield x[i : i + size].astype("float64"), y[i : i + size]


def train(optimizer, size=4, n=4 * 17):
    weights = [to_numpy(w).astype("float64") for w in mlp(None).weights]
    for x, y in batches(size, X[:n], Y[:n]):
        weights = optimizer.step(weights, slopes(weights, x, y))
    return weights


# ---- reference and claims


@pytest.mark.parametrize("jit", sorted({False, *JITS}))
@pytest.mark.parametrize("k, alpha", [(5, 0.5), (3, 0.8)])
def test_adam_inside_an_unbuilt_lookahead_is_the_reference(k, alpha, jit):
    # float32 holds these betas exactly, 1 - 0.999 only to 5 digits
    betas = 0.875, 0.96875
    optimizer = Lookahead(Adam(0.05, *betas), k, alpha)
    assert not optimizer.built
    got = fit(mlp(optimizer, jit))
    near(got, train(PlainLookahead(PlainAdam(0.05, *betas), k, alpha)))


def test_quadratic_has_its_closed_form():
    """(1 - α + α(1 - lr a)^k)^m for a x²/2, here after m = 4 cycles."""
    x = keras.Variable(1.0)
    optimizer = Lookahead(SGD(0.1), sync_period=5, slow_step_size=0.5)
    for _ in range(20):
        optimizer.apply([2 * ops.convert_to_tensor(x)], [x])
    assert abs(float(to_numpy(x)) - 0.194201987) < 1e-7


def test_a_whole_step_back_is_the_inner_optimizer():
    got = fit(mlp(Lookahead(SGD(0.1, momentum=0.9), 3, 1.0)))
    near(got, fit(mlp(SGD(0.1, momentum=0.9))))


def test_no_step_at_all_returns_to_the_start():
    model = mlp(Lookahead(SGD(0.1), 17, 0.0))
    before = model.get_weights()
    near(fit(model), before, atol=0)


def test_period_one_interpolates_every_step():
    got = fit(mlp(Lookahead(SGD(0.1), sync_period=1, slow_step_size=0.25)))
    near(got, train(PlainSGD(0.1 * 0.25)))


@each_jit
def test_first_synchronization_stays_near_pretrained_weights(jit):
    """bert4keras multiplies them by α there."""
    model = mlp(Lookahead(SGD(1e-4), sync_period=2), jit)
    model.optimizer.build(model.trainable_variables)
    pretrained = [w + 10.0 for w in model.get_weights()]
    model.set_weights(pretrained)  # after the optimizer was built
    got = fit(model, X[:8], Y[:8])
    near(got, pretrained, atol=0.1)
    assert any((a != b).any() for a, b in zip(got, pretrained, strict=True))


def test_nests_in_itself():
    inner = Lookahead(SGD(0.1), 2, 0.5)
    got = fit(mlp(Lookahead(inner, 3, 0.75)))
    plain = PlainLookahead(PlainSGD(), 2, 0.5)
    near(got, train(PlainLookahead(plain, 3, 0.75)))


@each_jit
def test_accumulated_gradients_count_once(jit):
    inner = SGD(0.1, gradient_accumulation_steps=2)
    got = fit(mlp(Lookahead(inner, 3), jit), X[:64], Y[:64])
    two_in_one = train(PlainLookahead(PlainSGD(), 3, 0.5), size=8, n=64)
    near(got, two_in_one)


def test_no_step_back_without_an_update():
    x = keras.Variable(1.0)
    inner = SGD(0.1, gradient_accumulation_steps=2)
    optimizer = Lookahead(inner, sync_period=1)
    for _ in range(2):
        optimizer.apply([ops.ones(())], [x])
    x.assign(5.0)
    optimizer.apply([ops.ones(())], [x])  # only accumulates
    near([x], [5.0])


def test_accumulation_in_two_lookaheads():
    inner = Lookahead(SGD(0.1, gradient_accumulation_steps=2), 2)
    got = fit(mlp(Lookahead(inner, 3)), X[:64], Y[:64])
    plain = PlainLookahead(PlainLookahead(PlainSGD(), 2, 0.5), 3, 0.5)
    near(got, train(plain, size=8, n=64))


def test_moving_average_of_the_inner_optimizer():
    inner = SGD(0.1, use_ema=True, ema_momentum=0.8)
    got = fit(mlp(Lookahead(inner, 3)))  # fit ends with the averages
    near(got, averages(PlainSGD(), 3, 0.8))


def averages(inner, k, momentum):
    """Averages the weights as the inner optimizer leaves them."""
    seen = []

    class Watched:
        def step(self, weights, gradients):
            seen.append(inner.step(weights, gradients))
            return seen[-1]

    train(PlainLookahead(Watched(), k, 0.5))
    average = seen[0]
    for weights in seen[1:]:
        average = [
            momentum * a + (1 - momentum) * w
            for a, w in zip(average, weights, strict=True)
        ]
    return average


def test_weights_swap_with_their_averages_for_evaluation():
    inner = SGD(0.1, use_ema=True, ema_momentum=0.8)
    model = mlp(Lookahead(inner, 3))
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    got = fit(model, callbacks=[swap])
    near(got, averages(PlainSGD(), 3, 0.8))


@each_jit
def test_loss_scaling_outside(jit):
    optimizer = keras.optimizers.LossScaleOptimizer(
        Lookahead(SGD(0.1), 3), initial_scale=64.0, dynamic_growth_steps=4
    )
    got = fit(mlp(optimizer, jit))
    near(got, train(PlainLookahead(PlainSGD(), 3, 0.5)))
    assert float(to_numpy(optimizer.dynamic_scale)) == 64.0 * 2**4


@each_jit
def test_steps_that_loss_scaling_skips_do_not_count(jit):
    optimizer = keras.optimizers.LossScaleOptimizer(Lookahead(SGD(0.1), 3))
    x, y = (
        np.insert(X, 12, np.full((4, 3), np.inf), 0),
        np.insert(Y, 12, Y[:4], 0),
    )
    got = fit(mlp(optimizer, jit), x, y)
    near(got, train(PlainLookahead(PlainSGD(), 3, 0.5)))


def test_fixed_loss_scale_inside():
    got = fit(mlp(Lookahead(SGD(0.1, loss_scale_factor=8.0), 3)))
    near(got, train(PlainLookahead(PlainSGD(), 3, 0.5)))


def test_mixed_float16_puts_loss_scaling_outside():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = mlp(Lookahead(SGD(0.1), 3))
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert isinstance(model.optimizer.inner_optimizer, Lookahead)
    got = fit(model)
    assert model.optimizer.iterations > 8  # the scale may start too large
    assert all(np.isfinite(w).all() for w in got)


class Split:
    """`PlainLookahead` for the hidden layer, `PlainSGD` for the rest."""

    def __init__(self):
        self.hidden = PlainLookahead(PlainSGD(), 3, 0.5)
        self.out = PlainSGD(0.2)

    def step(self, weights, gradients):
        hidden = self.hidden.step(weights[:2], gradients[:2])
        return hidden + self.out.step(weights[2:], gradients[2:])


@each_jit
def test_in_a_multi_optimizer(jit):
    choice = keras.optimizers.OptimizerMap(
        SGD(0.2), {".*hidden/.*": Lookahead(SGD(0.1), 3)}
    )
    got = fit(mlp(keras.optimizers.MultiOptimizer(choice), jit))
    near(got, train(Split()))


def test_in_a_multi_optimizer_with_a_fixed_loss_scale():
    choice = keras.optimizers.OptimizerMap(
        SGD(0.2), {".*hidden/.*": Lookahead(SGD(0.1), 3)}
    )
    multi = keras.optimizers.MultiOptimizer(choice, loss_scale_factor=8.0)
    near(fit(mlp(multi)), train(Split()))


def test_around_a_multi_optimizer():
    choice = keras.optimizers.OptimizerMap(SGD(0.2), {".*hidden/.*": SGD(0.1)})

    class Both:
        def step(self, weights, gradients):
            one = PlainSGD(0.1).step(weights[:2], gradients[:2])
            return one + PlainSGD(0.2).step(weights[2:], gradients[2:])

    multi = keras.optimizers.MultiOptimizer(choice)
    got = fit(mlp(Lookahead(multi, 3)))
    near(got, train(PlainLookahead(Both(), 3, 0.5)))


@each_jit
def test_sparse_gradients(jit):
    """An `Embedding` has `IndexedSlices` as its gradient on TensorFlow."""
    ids = np.random.default_rng(0).integers(7, size=(28, 3))
    targets = normal(28, 2)
    table = normal(7, 2, seed=1)
    layer = keras.layers.Embedding(7, 2)
    pool = keras.layers.GlobalAveragePooling1D()
    inputs = keras.Input((3,), dtype="int32")
    model = keras.Model(inputs, pool(layer(inputs)))
    layer.set_weights([table])
    model.compile(Lookahead(SGD(0.5), 3), "mse", jit_compile=jit)

    optimizer, weights = PlainLookahead(PlainSGD(0.5), 3, 0.5), [table]
    for i in range(0, 28, 4):
        gradient = np.zeros((7, 2))
        mean = weights[0][ids[i : i + 4]].mean(axis=1)
        d = 2 * (mean - targets[i : i + 4]) / mean.size
        np.add.at(gradient, ids[i : i + 4], d[:, None] / 3)
        weights = optimizer.step(weights, [gradient])
    near(fit(model, ids, targets), weights)


def test_a_missing_gradient_leaves_its_variable():
    x, y = keras.Variable(1.0), keras.Variable(2.0)
    optimizer = Lookahead(SGD(0.1), 2, 0.5)
    for _ in range(4):
        with pytest.warns(UserWarning, match="Gradients do not exist"):
            optimizer.apply([2 * ops.convert_to_tensor(x), None], [x, y])
    near([x, y], [(0.5 + 0.5 * 0.8**2) ** 2, 2.0])


def test_a_variable_that_its_gradient_overwrites_is_left_alone():
    x, scale = keras.Variable(1.0), keras.Variable(1.0)
    scale.overwrite_with_gradient = True
    optimizer = Lookahead(SGD(0.1), 1, 0.5)
    optimizer.apply([ops.ones(()), ops.array(7.0)], [x, scale])
    near([x, scale], [0.95, 7.0])


def test_constraints_hold_after_the_step_back():
    unit = keras.constraints.UnitNorm(axis=0)
    model = mlp(Lookahead(SGD(0.5), 2), kernel_constraint=unit)
    kernel = fit(model, X[:8], Y[:8])[0]  # ends with a step back
    np.testing.assert_allclose((kernel**2).sum(axis=0), np.ones(5), rtol=1e-5)


# ---- learning rates


def test_learning_rate_is_that_of_the_inner_optimizer():
    inner = SGD(0.1)
    optimizer = Lookahead(Lookahead(inner))
    near([optimizer.learning_rate], [0.1])
    optimizer.learning_rate = 0.25
    near([inner.learning_rate], [0.25])


def test_schedules_count_the_steps_of_the_inner_optimizer():
    schedule = keras.optimizers.schedules.InverseTimeDecay(0.2, 5, 1.0)

    class Decayed:
        t = 0

        def step(self, weights, gradients):
            self.t += 1
            rate = 0.2 / (1 + (self.t - 1) / 5)
            return PlainSGD(rate).step(weights, gradients)

    got = fit(mlp(Lookahead(SGD(schedule), 3)))
    near(got, train(PlainLookahead(Decayed(), 3, 0.5)))


def test_callbacks_set_the_learning_rate():
    model = mlp(Lookahead(SGD(0.1), 3))
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    fit(model, epochs=2, callbacks=[halve])
    near([model.optimizer.inner_optimizer.learning_rate], [0.025])
    plateau = keras.callbacks.ReduceLROnPlateau(
        "loss", factor=0.1, patience=1, min_delta=1e9
    )
    fit(model, epochs=2, callbacks=[plateau])
    near([model.optimizer.inner_optimizer.learning_rate], [0.0025])


def test_exclusion_from_weight_decay_reaches_the_inner_optimizer():
    optimizer = Lookahead(SGD(0.1, weight_decay=0.5), 2)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    bias = keras.Variable(1.0, name="bias")
    kernel = keras.Variable(1.0, name="kernel")
    zero = ops.zeros(())
    optimizer.apply([zero, zero], [bias, kernel])
    near([bias, kernel], [1.0, 1.0 - 0.1 * 0.5])


# ---- state


def new(jit=BACKEND == "jax"):
    return mlp(Lookahead(Adam(0.05), 5), jit)


@functools.cache
def uninterrupted(jit=BACKEND == "jax"):
    return fit(new(jit))


# 7 is in the middle of a cycle
@pytest.mark.parametrize(
    "steps, jit", [(0, JITS[0]), (7, JITS[-1]), (10, JITS[0])]
)
def test_resumed_from_a_file_equals_uninterrupted(steps, jit, tmp_path):
    model, n = new(jit), 4 * steps
    if steps:
        fit(model, X[:n], Y[:n])
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(again.optimizer, Lookahead)
    near(again.optimizer.variables, model.optimizer.variables, atol=0)
    near(fit(again, X[n:], Y[n:]), uninterrupted(jit), atol=0)


def test_resumed_by_set_weights_equals_uninterrupted():
    model, again = new(), new()
    fit(model, X[:28], Y[:28])
    again.optimizer.build(again.trainable_variables)
    again.set_weights(model.get_weights())
    state = [to_numpy(v) for v in model.optimizer.variables]
    again.optimizer.set_weights(state)
    near(again.optimizer.variables, state, atol=0)
    near(fit(again, X[28:], Y[28:]), uninterrupted(), atol=0)


class Crash(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise RuntimeError("power cut")


def test_backup_and_restore_in_the_middle_of_a_cycle(tmp_path):
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(RuntimeError, match="power cut"):
        fit(new(), epochs=2, callbacks=[backup, Crash()])
    got = fit(new(), epochs=2, callbacks=[backup])
    near(got, fit(new(), epochs=2), atol=0)


def test_state_in_a_multi_optimizer_is_saved_whole(tmp_path):
    def model():
        choice = keras.optimizers.OptimizerMap(
            SGD(0.2), {".*hidden/.*": Lookahead(Adam(0.1), 5)}
        )
        return mlp(keras.optimizers.MultiOptimizer(choice))

    half = model()
    fit(half, X[:28], Y[:28])
    half.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    near(fit(again, X[28:], Y[28:]), fit(model()), atol=0)
    copy = model()
    copy.optimizer.build(copy.trainable_variables)
    copy.optimizer.set_weights([to_numpy(v) for v in half.optimizer.variables])
    near(
        copy.optimizer.variables,
        [to_numpy(v) for v in half.optimizer.variables],
        0,
    )


def test_wraps_an_optimizer_that_has_run_already():
    """The backup is made at our first step, not at the inner's."""
    model = mlp(SGD(0.1))
    fit(model, X[:12], Y[:12])
    inner = model.optimizer
    model.compile(Lookahead(inner, 2), "mse", jit_compile=JITS[0])
    got = fit(model, X[12:20], Y[12:20])

    class Later(PlainLookahead):
        waited = 0

        def step(self, weights, gradients):
            self.waited += 1
            if self.waited <= 3:
                return self.inner.step(weights, gradients)
            return super().step(weights, gradients)

    near(got, train(Later(PlainSGD(), 2, 0.5), n=20))
    near([model.optimizer.iterations], [5])


def test_two_fits_are_one_long_fit():
    model = new()
    fit(model, X[:28], Y[:28])
    near(fit(model, X[28:], Y[28:]), uninterrupted(), atol=0)


def shifted(model, by):
    """Sets other weights between two fits: a fold, the best epoch, a file."""
    weights = [w + by for w in model.get_weights()]
    model.set_weights(weights)
    return weights


class Anew:
    """`PlainLookahead` that starts with weights of its own."""

    def __init__(self, weights, optimizer):
        self.weights, self.optimizer = weights, optimizer

    def step(self, weights, gradients):
        return self.optimizer.step(weights, gradients)

    def train(self, x, y):
        weights = self.weights
        for batch in batches(4, x, y):
            weights = self.step(weights, slopes(weights, *batch))
        return weights


@pytest.mark.parametrize("jit", sorted({False, *JITS}))
@pytest.mark.parametrize("steps", [6, 7])  # the end of a cycle, and not
def test_weights_that_are_set_between_two_fits_are_the_new_start(jit, steps):
    model = mlp(Lookahead(SGD(0.1), 3), jit)
    fit(model, X[: 4 * steps], Y[: 4 * steps])
    start = shifted(model, 1.0)
    got = fit(model, X[28:52], Y[28:52])
    plain = Anew(start, PlainLookahead(PlainSGD(), 3, 0.5))
    near(got, plain.train(X[28:52], Y[28:52]))
    # and only once: the cycles of the third go on
    got = fit(model, X[52:], Y[52:])
    plain = Anew(start, PlainLookahead(PlainSGD(), 3, 0.5))
    near(got, plain.train(X[28:], Y[28:]))


def test_a_change_of_one_weight_is_noticed():
    model = mlp(Lookahead(SGD(0.0), 1))
    fit(model, X[:8], Y[:8])
    for i, w in enumerate(model.get_weights()):
        w.flat[-1] = np.nextafter(w.flat[-1], np.float32(9))
        weights = model.get_weights()
        weights[i] = w
        model.set_weights(weights)
        near(fit(model, X[:4], Y[:4]), weights, atol=0)


def test_weights_that_change_places_are_noticed():
    model = mlp(Lookahead(SGD(0.0), 1))
    fit(model, X[:8], Y[:8])
    weights = [w[::-1].copy() for w in model.get_weights()]
    model.set_weights(weights)
    near(fit(model, X[:4], Y[:4]), weights, atol=0)


def test_the_best_epoch_is_the_new_start():
    """EarlyStopping sets it when `fit` has ended."""
    model = mlp(Lookahead(SGD(0.5), 3))
    best = keras.callbacks.EarlyStopping(
        "loss",
        mode="max",  # the worst, so that it is the first
        patience=2,
        restore_best_weights=True,
    )
    fit(model, X[:20], Y[:20], epochs=3, callbacks=[best])
    start = [to_numpy(w) for w in model.weights]
    got = fit(model, X[28:52], Y[28:52])
    plain = Anew(start, PlainLookahead(PlainSGD(0.5), 3, 0.5))
    near(got, plain.train(X[28:52], Y[28:52]))


def test_a_fit_after_moving_averages_starts_with_them():
    inner = SGD(0.1, use_ema=True, ema_momentum=0.8)
    model = mlp(Lookahead(inner, 3))
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch=True)
    for callbacks in ([], [swap]):
        start = fit(model, X[:28], Y[:28], callbacks=callbacks)
        apart(model)
        model.optimizer.learning_rate = 0.0
        inner.ema_momentum = 0.0  # the averages are the weights
        near(fit(model, X[:16], Y[:16]), start)
        apart(model)
        model.optimizer.learning_rate = 0.1


def apart(model):
    """Gives each weight a buffer of its own.

    After a fit with `use_ema`, Keras (3.15) leaves weights and averages in
    one buffer, which JAX donates in the next fit: plain Keras fails there.
    """
    model.set_weights([w.copy() for w in model.get_weights()])


def test_inside_other_wrappers_too():
    models = [
        mlp(Lookahead(Lookahead(SGD(0.1), 2), 3)),
        mlp(keras.optimizers.LossScaleOptimizer(Lookahead(SGD(0.1), 2), 8.0)),
        mlp(
            keras.optimizers.MultiOptimizer(
                keras.optimizers.OptimizerMap(
                    Lookahead(SGD(0.1), 2),
                    {".*hidden/.*": Lookahead(SGD(0.1), 2)},
                )
            )
        ),
    ]
    for model in models:
        fit(model, X[:28], Y[:28])
        start = shifted(model, 10.0)
        for got, want in zip(fit(model, X[:8], Y[:8]), start, strict=True):
            np.testing.assert_allclose(got, want, atol=4.0)  # not by half


def test_reset_starts_a_new_cycle_from_the_weights():
    x = keras.Variable(4.0)
    optimizer = Lookahead(SGD(1.0), sync_period=2, slow_step_size=0.5)
    optimizer.apply([ops.ones(())], [x])  # in the middle of a cycle
    x.assign(100.0)
    optimizer.reset()
    values = []
    for _ in range(4):
        optimizer.apply([ops.ones(())], [x])
        values.append(float(to_numpy(x)))
    assert values == [99.0, 99.0, 98.0, 98.0]


@pytest.mark.skipif(BACKEND != "jax", reason="stateless_apply is for JAX")
def test_stateless_apply_equals_apply():
    x, twin = keras.Variable(normal(3)), keras.Variable(normal(3))
    stateful, stateless = (Lookahead(Adam(0.1), 2) for _ in "12")
    stateless.build([twin])
    weights = [twin.value]
    state = [v.value for v in stateless.variables]
    for i in range(5):
        stateful.apply([normal(3, seed=i)], [x])
        weights, state = stateless.stateless_apply(
            state, [normal(3, seed=i)], weights
        )
    near([x], weights, atol=1e-7)
    near(stateful.variables, state, atol=1e-7)
    near([twin], [normal(3)], atol=0)  # nothing was assigned


def test_variables_are_own_then_inner():
    x = keras.Variable(normal(3), name="x")
    inner = Adam()
    optimizer = Lookahead(inner)
    optimizer.build([x])
    optimizer.build([x])  # nothing more
    names = [v.name for v in optimizer.variables]
    own = [v for v in optimizer.variables if v.name.endswith("slow")]
    assert len(own) == 1 and own[0].shape == (3,)
    assert names[-len(inner.variables) :] == [v.name for v in inner.variables]


# ---- config


def test_config_goes_through_json():
    inner = Lookahead(Adam(0.05, beta_1=0.8, clipnorm=1.0), 2, 0.25, name="in")
    optimizer = Lookahead(inner, 3, 0.75, name="out")
    config = json.loads(json.dumps(optimizer.get_config()))
    again = Lookahead.from_config(config)
    assert again.get_config() == optimizer.get_config()
    assert config == optimizer.get_config()  # not used up
    assert again.inner_optimizer.inner_optimizer.beta_1 == 0.8
    assert (again.name, again.sync_period) == ("out", 3)
    packed = keras.optimizers.serialize(optimizer)
    assert isinstance(keras.optimizers.get(packed), Lookahead)


# ---- refusals


@pytest.mark.parametrize("period", [0, -1, 2.0, True, "5", None])
def test_period_must_be_a_positive_integer(period):
    with pytest.raises(ValueError, match="Received: sync_period="):
        Lookahead(SGD(), sync_period=period)


@pytest.mark.parametrize("size", [-0.1, 1.1, float("nan"), "1", None])
def test_slow_step_size_must_be_a_fraction(size):
    with pytest.raises(ValueError, match="Received: slow_step_size="):
        Lookahead(SGD(), slow_step_size=size)


@pytest.mark.parametrize("optimizer", ["adam", None, Adam])
def test_inner_optimizer_must_be_an_instance(optimizer):
    with pytest.raises(ValueError, match="Received: optimizer="):
        Lookahead(optimizer)


def test_loss_scaling_inside_is_refused():
    with pytest.raises(ValueError, match="put it outside"):
        Lookahead(keras.optimizers.LossScaleOptimizer(SGD()))


@pytest.mark.parametrize(
    "name, value",
    [
        ("learning_rate", 0.1),
        ("weight_decay", 0.1),
        ("clipnorm", 1.0),
        ("use_ema", True),
        ("gradient_accumulation_steps", 2),
    ],
)
def test_arguments_of_the_inner_optimizer_are_refused(name, value):
    with pytest.raises(
        ValueError, match=f"`{name}` .* inner .*Received: {name}="
    ):
        Lookahead(SGD(), **{name: value})


def test_unknown_arguments_are_refused():
    with pytest.raises(
        ValueError, match="Unknown argument. Received: alpha=0.5"
    ):
        Lookahead(SGD(), alpha=0.5)


def test_inner_optimizer_of_other_variables_is_refused():
    x, y = keras.Variable(1.0, name="x"), keras.Variable(1.0, name="y")
    inner = SGD()
    inner.build([x])
    with pytest.raises(ValueError, match=r"Received: an optimizer of \['x'\]"):
        Lookahead(inner).build([y])


def test_other_variables_than_built_for_are_refused():
    x, y = keras.Variable(1.0), keras.Variable(1.0)
    optimizer = Lookahead(SGD())
    with pytest.raises(ValueError, match="Received: trainable_variables=None"):
        optimizer.apply([ops.ones(())])
    optimizer.build([x])
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.apply([ops.ones(())], [y])


def test_accumulation_hidden_in_a_multi_optimizer_is_refused():
    member = Lookahead(SGD(gradient_accumulation_steps=2))
    choice = keras.optimizers.OptimizerMap(SGD(), {".*x": member})
    multi = keras.optimizers.MultiOptimizer(choice)
    with pytest.raises(ValueError, match="around each member"):
        Lookahead(multi).build([keras.Variable(1.0, name="x")])


def test_weights_of_another_optimizer_are_refused():
    optimizer = Lookahead(SGD())
    with pytest.raises(ValueError, match="Received: .* built=False"):
        optimizer.set_weights([])
    optimizer.build([keras.Variable(normal(3))])
    state = [to_numpy(v) for v in optimizer.variables]
    with pytest.raises(ValueError, match="Received: shapes"):
        optimizer.set_weights(state[:-1])
