"""Article: https://kexue.fm/archives/6621"""

import json

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import compiled, value_and_variable_gradient
from su_models.backend.time_loop import has_time_loop
from su_models.layers import ONLSTM, ONLSTMCell
from su_models.training import GradientPenalty
from tests.contract import normal, to_numpy
from tests.marks import needs_float64

UNITS, LEVELS, WIDTH = 6, 3, 5
both = pytest.mark.parametrize("master_input", ["su", "paper"])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def cs_right(p):
    return np.array([sum(p[: k + 1]) for k in range(len(p))])


def cs_left(p):
    return np.array([sum(p[k:]) for k in range(len(p))])


def on_lstm(x, weights, levels, master_input="su", h=None, c=None):
    """Eq. (10) for one sequence: outputs, memories and f̃ of all steps."""
    kernel, recurrent_kernel, bias = (w.astype("float64") for w in weights)
    u = len(recurrent_kernel)
    h, c = (np.zeros(u) if s is None else s.astype("float64") for s in (h, c))
    hs, cs, fs = [], [], []
    for x_t in x.astype("float64"):
        z = x_t @ kernel + h @ recurrent_kernel + bias
        i, f, c_hat, o = np.split(z[: 4 * u], 4)
        i, f, c_hat, o = sigmoid(i), sigmoid(f), np.tanh(c_hat), sigmoid(o)
        p_f, p_i = (softmax(p) for p in np.split(z[4 * u :], 2))
        f_tilde = cs_right(p_f)
        i_tilde = cs_left(p_i)
        if master_input == "paper":
            i_tilde = 1 - cs_right(p_i)  # Eq. (11)
        fs.append(f_tilde)
        f_tilde, i_tilde = (
            np.array([v[k // (u // levels)] for k in range(u)])
            for v in (f_tilde, i_tilde)
        )
        omega = f_tilde * i_tilde
        c = (
            omega * (f * c + i * c_hat)
            + (f_tilde - omega) * c
            + (i_tilde - omega) * c_hat
        )
        h = o * np.tanh(c)
        hs.append(h)
        cs.append(c)
    return np.array(hs), np.array(cs), np.array(fs)


def built(levels=LEVELS, master_input="su", units=UNITS, scale=1.0, **more):
    """A layer with weights, and biases, that are all at work."""
    more = {"return_sequences": True, "return_state": True, **more}
    layer = ONLSTM(units, levels, master_input, **more)
    layer.build((None, None, WIDTH))
    weights = [w for w in layer.weights if "kernel" in w.name]
    weights += [w for w in layer.weights if w.name == "bias"]
    random = np.random.default_rng(1)
    for w in weights:
        w.assign(scale * random.normal(size=w.shape))
    return layer, [to_numpy(w) for w in weights]


def of_bias(bias, levels, master_input="su", dtype=None, c=0.0):
    """The memory after one step from `c` that the bias alone decides."""
    cell = ONLSTMCell(UNITS, levels, master_input, dtype=dtype)
    cell.build((1, WIDTH))
    for w in cell.weights:
        w.assign(np.zeros(w.shape))
    cell.bias.assign(bias)
    states = [np.zeros((1, UNITS)), np.full((1, UNITS), c)]
    states = [ops.cast(s, cell.compute_dtype) for s in states]
    _, (_, memory) = cell(np.zeros((1, WIDTH), "float32"), states)
    return to_numpy(memory)[0]


def master_gates(p_f, p_i, master_input, dtype=None):
    """f̃ and ĩ, read from the memory, for given logits.

    With f = 1 and ĉ = 0 a memory of ones becomes f̃, and with i = ĉ = 1 one
    of zeros becomes ĩ.
    """
    u = UNITS
    bias = np.concatenate([np.zeros(4 * u), p_f, p_i])
    keeps, writes = bias.copy(), bias.copy()
    keeps[u : 2 * u] = 100
    writes[:u] = writes[2 * u : 3 * u] = 100
    more = {"levels": len(p_f), "master_input": master_input, "dtype": dtype}
    f_tilde, i_tilde = of_bias(keeps, c=1.0, **more), of_bias(writes, **more)
    return (gate[:: u // len(p_f)] for gate in (f_tilde, i_tilde))


# ---- reference


@both
@pytest.mark.parametrize("levels", [1, 2, 3, 6])
def test_matches_eq_10(levels, master_input):
    layer, weights = built(levels, master_input, return_distances=True)
    x = normal(2, 7, WIDTH)
    outputs, distances, h, c = map(to_numpy, layer(x))
    for b in range(2):
        hs, cs, fs = on_lstm(x[b], weights, levels, master_input)
        np.testing.assert_allclose(outputs[b], hs, atol=1e-5)
        np.testing.assert_allclose(h[b], hs[-1], atol=1e-5)
        np.testing.assert_allclose(c[b], cs[-1], atol=1e-5)
        np.testing.assert_allclose(distances[b], 1 - fs.mean(1), atol=1e-5)


def test_starts_from_the_given_states():
    layer, weights = built(return_distances=True)
    x, h0, c0 = normal(2, 7, WIDTH), normal(2, UNITS), normal(2, UNITS)[::-1]
    outputs, distances, *_ = layer(x, initial_state=[h0, c0.copy()])
    for b in range(2):
        hs, _, fs = on_lstm(x[b], weights, LEVELS, h=h0[b], c=c0[b])
        np.testing.assert_allclose(to_numpy(outputs)[b], hs, atol=1e-5)
        d = to_numpy(distances)[b]
        np.testing.assert_allclose(d, 1 - fs.mean(1), atol=1e-5)


@both
def test_a_cell_in_a_keras_rnn_does_the_same(master_input):
    layer, weights = built(master_input=master_input)
    cell = ONLSTMCell(UNITS, LEVELS, master_input)
    rnn = keras.layers.RNN(cell, return_sequences=True, return_state=True)
    rnn.build((None, None, WIDTH))
    rnn.set_weights(weights)
    x = normal(2, 7, WIDTH)
    for ours, theirs in zip(layer(x), rnn(x), strict=True):
        np.testing.assert_allclose(to_numpy(ours), to_numpy(theirs), atol=1e-6)


def test_cells_stack():
    cells = [ONLSTMCell(UNITS, LEVELS), ONLSTMCell(4, 2)]
    stack = keras.layers.RNN(cells)
    x = normal(2, 7, WIDTH)
    y = stack(x)
    layers = [ONLSTM(UNITS, LEVELS, return_sequences=True), ONLSTM(4, 2)]
    for layer, cell in zip(layers, cells, strict=True):
        layer.build((None, None, cell.kernel.shape[0]))
        layer.set_weights(cell.get_weights())
        x = layer(x)
    np.testing.assert_allclose(to_numpy(x), to_numpy(y), atol=1e-6)


# ---- what the article says of it


def lstm_and_one_level(**more):
    lstm = keras.layers.LSTM(UNITS, use_cudnn=False, **more)
    ours = ONLSTM(UNITS, 1, **more)
    x = keras.Input((7, WIDTH))
    models = [keras.Model(x, layer(x)) for layer in (lstm, ours)]
    _, theirs = built(1)
    u = 4 * UNITS
    lstm.set_weights([theirs[0][:, :u], theirs[1][:, :u], theirs[2][:u]])
    ours.set_weights(theirs)
    return models


def test_one_level_is_an_lstm():
    lstm, ours = lstm_and_one_level(return_sequences=True, return_state=True)
    x = normal(3, 7, WIDTH)
    for a, b in zip(lstm(x), ours(x), strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=1e-6)


def test_one_level_learns_as_an_lstm():
    models = lstm_and_one_level()
    x, y = normal(3, 7, WIDTH), normal(3, UNITS)
    for model in models:
        model.compile(keras.optimizers.SGD(0.5), "mse")
        for _ in range(3):
            model.train_on_batch(x, y)
    for a, b in zip(*(m.get_weights() for m in models), strict=True):
        b = b[..., : a.shape[-1]]
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_one_level_of_the_paper_writes_nothing():  # ĩ = 0
    layer, _ = built(1, "paper")
    x, c0 = normal(2, 7, WIDTH), normal(2, UNITS)
    _, _, c = layer(x, initial_state=[np.zeros_like(c0), c0])
    np.testing.assert_allclose(to_numpy(c), c0, atol=1e-6)
    assert not to_numpy(layer(x)[0]).any()


@both
def test_hard_gates_update_by_intervals(master_input):  # Eq. (4), Eq. (5)
    u, n = UNITS, UNITS  # each neuron is a level
    logits = np.random.default_rng(2).normal(size=4 * u)
    i, f, c_hat, _ = np.split(logits, 4)
    i, f, c_hat, c = sigmoid(i), sigmoid(f), np.tanh(c_hat), 0.7
    for d_f in range(n):
        for d_i in range(n):
            one_hot = [1e4 * np.eye(n)[d] for d in (d_f, d_i)]
            got = of_bias(
                np.concatenate([logits, *one_hot]), n, master_input, c=c
            )
            if master_input == "paper":
                d_i = d_i - 1  # its gate ends one level earlier
            for k in range(n):
                if d_f <= k <= d_i:
                    want = f[k] * c + i[k] * c_hat[k]
                elif k <= d_i:
                    want = c_hat[k]
                elif k >= d_f:
                    want = c
                else:
                    want = 0.0  # nobody's ground, where d_f > d_i
                assert abs(got[k] - want) < 1e-6


@both
def test_master_gates_rise_and_fall_between_0_and_1(master_input):
    random = np.random.default_rng(3)
    for _ in range(5):
        p_f, p_i = 2 * random.normal(size=(2, UNITS))
        f_tilde, i_tilde = master_gates(p_f, p_i, master_input)
        np.testing.assert_allclose(f_tilde, cs_right(softmax(p_f)), atol=1e-6)
        assert (np.diff(f_tilde) >= 0).all() and (np.diff(i_tilde) <= 0).all()
        for gate in (f_tilde, i_tilde):
            assert gate.min() >= -1e-6 and gate.max() <= 1 + 1e-6
        ends = (f_tilde[-1], i_tilde[0 if master_input == "su" else -1])
        want = (1, 1 if master_input == "su" else 0)
        np.testing.assert_allclose(ends, want, atol=1e-6)


def test_the_two_master_inputs_differ_by_the_softmax():
    p_f, p_i = np.random.default_rng(4).normal(size=(2, UNITS))
    _, su = master_gates(p_f, p_i, "su")
    _, paper = master_gates(p_f, p_i, "paper")
    np.testing.assert_allclose(su - paper, softmax(p_i), atol=1e-6)


def test_distances_are_expected_levels():  # Eq. (14)
    layer, weights = built(return_distances=True, return_sequences=False)
    x = normal(2, 1, WIDTH)
    distances = to_numpy(layer(x)[1])
    u, n = UNITS, LEVELS
    for b in range(2):
        logits = (x[b] @ weights[0] + weights[2])[0, 4 * u : 4 * u + n]
        d_f = sum(k * p for k, p in enumerate(softmax(logits), start=1))
        np.testing.assert_allclose(n * distances[b] + 1, [d_f], atol=1e-5)
    assert (distances >= 0).all() and (distances < 1).all()


# ---- masks, states, directions


HOLES = np.array([[0, 1, 1, 0, 1, 1, 0], [1, 1, 1, 1, 0, 0, 0]], bool)


@pytest.mark.parametrize("zero", [False, True])
def test_masked_steps_change_nothing(zero):
    more = {"return_distances": True, "zero_output_for_mask": zero}
    layer, weights = built(**more)
    x, h0, c0 = normal(2, 7, WIDTH), normal(2, UNITS), normal(2, UNITS)[::-1]
    states = [h0, c0.copy()]
    got = layer(x, initial_state=states, mask=ops.convert_to_tensor(HOLES))
    outputs, distances, h, c = map(to_numpy, got)
    for b, real in enumerate(HOLES):
        hs, cs, fs = on_lstm(x[b][real], weights, LEVELS, h=h0[b], c=c0[b])
        np.testing.assert_allclose(outputs[b][real], hs, atol=1e-5)
        np.testing.assert_allclose(h[b], hs[-1], atol=1e-5)
        np.testing.assert_allclose(c[b], cs[-1], atol=1e-5)
        d = distances[b]
        np.testing.assert_allclose(d[real], 1 - fs.mean(1), atol=1e-5)
        assert not d[~real].any()
        if zero:
            assert not outputs[b][~real].any()


def test_the_last_output_is_the_last_real_one():
    layer, weights = built(return_sequences=False, return_state=False)
    x = normal(2, 7, WIDTH)
    y = to_numpy(layer(x, mask=ops.convert_to_tensor(HOLES)))
    for b, real in enumerate(HOLES):
        hs, _, _ = on_lstm(x[b][real], weights, LEVELS)
        np.testing.assert_allclose(y[b], hs[-1], atol=1e-5)


def test_the_mask_goes_on_with_the_outputs():
    x = keras.Input((None,), dtype="int32")
    y = keras.layers.Embedding(9, WIDTH, mask_zero=True)(x)
    layer = ONLSTM(UNITS, LEVELS, return_distances=True, return_sequences=True)
    outputs, distances = layer(y)
    assert outputs._keras_mask is not None
    assert distances.dtype == "float32" and distances.shape == (None, None)


@pytest.mark.parametrize("distances", [False, True])
def test_stateful_halves_are_the_whole(distances):
    more = {"return_distances": distances, "return_sequences": True}
    whole = ONLSTM(UNITS, LEVELS, **more)
    halves = ONLSTM(UNITS, LEVELS, stateful=True, **more)
    x = normal(2, 8, WIDTH)
    want = keras.tree.flatten(whole(x))
    halves.build((2, 4, WIDTH))
    for w, v in zip(
        halves.trainable_weights, whole.trainable_weights, strict=True
    ):
        w.assign(v)
    for _ in range(2):  # the second time after reset_state
        first = keras.tree.flatten(halves(x[:, :4]))
        second = keras.tree.flatten(halves(x[:, 4:]))
        for w, a, b in zip(want, first, second, strict=True):
            got = np.concatenate([to_numpy(a), to_numpy(b)], axis=1)
            np.testing.assert_allclose(got, to_numpy(w), atol=1e-6)
        halves.reset_state()


def test_stateful_training_goes_on_from_the_last_batch():
    x = keras.Input(batch_shape=(2, 4, WIDTH))
    layer = ONLSTM(UNITS, LEVELS, stateful=True)
    model = keras.Model(x, layer(x))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = normal(2, 12, WIDTH)
    y = np.zeros((6, UNITS), "float32")
    weights = [to_numpy(w) for w in layer.weights]
    assert len(weights) == 3  # the states are none
    pieces = x.reshape(2, 3, 4, WIDTH).swapaxes(0, 1).reshape(6, 4, WIDTH)
    model.fit(pieces, y, batch_size=2, shuffle=False, verbose=0)
    for b in range(2):
        _, cs, _ = on_lstm(x[b], weights, LEVELS)
        c = to_numpy(layer.states[1])[b]
        np.testing.assert_allclose(c, cs[-1], atol=1e-5)


def test_backwards_is_forwards_on_the_reversed():
    layer, weights = built(go_backwards=True)
    x = normal(2, 7, WIDTH)
    y = to_numpy(layer(x)[0])
    for b in range(2):
        hs, _, _ = on_lstm(x[b, ::-1], weights, LEVELS)
        np.testing.assert_allclose(y[b], hs, atol=1e-5)


def test_bidirectional_reads_both_ways():
    layer = ONLSTM(UNITS, LEVELS, return_sequences=True)
    both_ways = keras.layers.Bidirectional(layer)
    x, n = normal(2, 7, WIDTH), [7, 4]
    mask = np.arange(7) < np.array(n)[:, None]
    y = to_numpy(both_ways(x, mask=ops.convert_to_tensor(mask)))
    parts = both_ways.forward_layer, both_ways.backward_layer
    weights = [[to_numpy(w) for w in part.weights] for part in parts]
    for b in range(2):
        x_b = x[b, : n[b]]
        forth, _, _ = on_lstm(x_b, weights[0], LEVELS)
        back, _, _ = on_lstm(x_b[::-1], weights[1], LEVELS)
        want = np.concatenate([forth, back[::-1]], axis=1)
        np.testing.assert_allclose(y[b, : n[b]], want, atol=1e-5)
        assert not y[b, n[b] :].any()


def test_states_of_an_encoder_start_a_decoder():
    encoder, first = built(return_sequences=False, name="encoder")
    decoder, second = built(return_distances=True, name="decoder")
    source, target = keras.Input((None, WIDTH)), keras.Input((None, WIDTH))
    _, h, c = encoder(source)
    y, d, *_ = decoder(target, initial_state=[h, c])
    model = keras.Model([source, target], [y, d])
    x = normal(2, 7, WIDTH)
    y, d = map(to_numpy, model([x, x[:, :4]]))
    for b in range(2):
        hs, cs, _ = on_lstm(x[b], first, LEVELS)
        states = {"h": hs[-1], "c": cs[-1]}
        hs, _, fs = on_lstm(x[b, :4], second, LEVELS, **states)
        np.testing.assert_allclose(y[b], hs, atol=1e-5)
        np.testing.assert_allclose(d[b], 1 - fs.mean(1), atol=1e-5)


@pytest.mark.parametrize("sequences", [False, True])
def test_results_come_in_their_order(sequences):
    layer, _ = built(return_distances=True, return_sequences=sequences)
    outputs, distances, h, c = layer(normal(2, 7, WIDTH))
    shape = (2, 7, UNITS) if sequences else (2, UNITS)
    assert tuple(outputs.shape) == shape
    assert tuple(distances.shape) == (2, 7)
    last = to_numpy(outputs)[:, -1] if sequences else to_numpy(outputs)
    np.testing.assert_array_equal(to_numpy(h), last)
    assert (to_numpy(c) != to_numpy(h)).any()


def test_asking_for_distances_changes_no_output():
    plain, weights = built()
    telling, _ = built(return_distances=True)
    x = normal(2, 7, WIDTH)
    outputs, _, *states = telling(x)
    for a, b in zip(plain(x), [outputs, *states], strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))


# ---- drop-connect


def test_drop_connect_takes_connections_for_the_whole_call(monkeypatch):
    rates = {"dropconnect": 0.25, "recurrent_dropconnect": 0.5}
    layer, weights = built(**rates, seed=3)
    drawn, draw = [], keras.random.dropout

    def record(*args, **kwargs):
        drawn.append(draw(*args, **kwargs))
        return drawn[-1]

    monkeypatch.setattr(keras.random, "dropout", record)
    x = normal(2, 7, WIDTH)
    y = to_numpy(layer(x, training=True)[0])
    assert len(drawn) == 2  # one for each kernel, none for a step
    drawn = [to_numpy(w) for w in drawn]
    for before, after, rate in zip(
        weights, drawn, rates.values(), strict=False
    ):
        kept = after != 0
        np.testing.assert_allclose(
            after[kept], (before / (1 - rate))[kept], rtol=1e-5
        )
        assert abs(1 - kept.mean() - rate) < 0.15
    for b in range(2):
        hs, _, _ = on_lstm(x[b], [*drawn, weights[2]], LEVELS)
        np.testing.assert_allclose(y[b], hs, atol=1e-5)


def test_no_connection_is_dropped_outside_training():
    rates = {"dropconnect": 0.25, "recurrent_dropconnect": 0.5}
    (plain, _), (dropping, _) = built(), built(**rates)
    x = normal(2, 7, WIDTH)
    a, b = (
        to_numpy(layer(x, training=False)[0]) for layer in (plain, dropping)
    )
    np.testing.assert_array_equal(a, b)


# ---- the loop with a gradient of its own, beside Keras' loop

needs_own_loop = pytest.mark.skipif(
    not has_time_loop(), reason="PyTorch has Keras' loop only"
)


def with_both_loops(monkeypatch, fn):
    """Returns what `fn` returns with our loop, and what with Keras'."""
    assert ONLSTM(UNITS, LEVELS)._has_own_loop()
    ours = fn()
    with monkeypatch.context() as patch:
        patch.setattr(ONLSTM, "_has_own_loop", lambda self: False)
        return ours, fn()


@needs_own_loop
@pytest.mark.parametrize(
    "options",
    [
        {"return_distances": True},
        {
            "return_distances": True,
            "zero_output_for_mask": True,
            "dropconnect": 0.3,
            "recurrent_dropconnect": 0.3,
            "seed": 3,
        },
        {"go_backwards": True, "zero_output_for_mask": True},
        {"return_sequences": False, "use_bias": False, "go_backwards": True},
    ],
)
def test_everything_learns_the_same_from_both_loops(monkeypatch, options):
    layer, _ = built(**options)
    given = normal(2, 7, WIDTH), normal(2, UNITS), normal(2, UNITS)[::-1]
    given = [keras.Variable(x) for x in given]
    # real from the first step that is read: before it Keras' outputs differ
    mask = np.array([[1, 0, 1, 0, 1, 1, 1], [1, 1, 1, 1, 0, 0, 1]], bool)
    variables = [*given, *layer.trainable_variables]
    state = to_numpy(layer.seed_generator.state).astype("uint32")

    def loss():
        x, *states = (ops.convert_to_tensor(v) for v in given)
        results = layer(x, initial_state=states, mask=mask, training=True)
        return sum(ops.sum(y * normal(*y.shape)) for y in results)

    def learn():
        layer.seed_generator.state.assign(state)
        learning = compiled(
            lambda: value_and_variable_gradient(loss, variables),
            variables=[*variables, *layer.non_trainable_variables],
        )
        value, gradients = learning()
        return [to_numpy(x) for x in (value, *gradients)]

    for ours, theirs in zip(*with_both_loops(monkeypatch, learn), strict=True):
        size = np.abs(theirs).max()
        assert size > 0.1
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * max(size, 1))


@pytest.mark.slow
@needs_own_loop
def test_a_gradient_penalty_learns_the_same_from_both_loops(monkeypatch):
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, WIDTH, mask_zero=True)(ids)
    x = ONLSTM(UNITS, LEVELS)(x)
    model = keras.Model(ids, keras.layers.Dense(1)(x))
    start = [normal(*w.shape) for w in model.get_weights()]
    x = np.array([[3, 4, 5, 6], [2, 1, 0, 0]], "int32")

    def learn():
        model.set_weights(start)
        wrapper = GradientPenalty(model, epsilon=5.0)
        wrapper.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=True)
        wrapper.fit(x, np.ones((2, 1)), verbose=0)
        return [*model.get_weights()]

    ours, theirs = with_both_loops(monkeypatch, learn)
    for a, b, w in zip(ours, theirs, start, strict=True):
        assert np.abs(b - w).max() > 1e-3
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(
    "names", [("sigmoid", "sigmoid"), ("tanh", "hard_sigmoid")]
)
def test_other_activations_take_the_loop_of_keras(names):
    activation, recurrent_activation = names
    options = {
        "activation": activation,
        "recurrent_activation": recurrent_activation,
    }
    layer, weights = built(**options)
    assert not layer._has_own_loop()
    rnn = keras.layers.RNN(ONLSTMCell(UNITS, LEVELS, **options))
    rnn.build((None, None, WIDTH))
    rnn.set_weights(weights)
    x = normal(2, 7, WIDTH)
    got = to_numpy(layer(x)[0])[:, -1]
    np.testing.assert_allclose(got, to_numpy(rnn(x)), atol=1e-6)


# ---- low precision, XLA


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_master_gates_are_summed_in_float32(dtype):
    # logits that both types hold, and sums of many small numbers
    p = np.zeros(UNITS)
    for _ in range(2):
        f_tilde, i_tilde = master_gates(p, p, "su", dtype)
        want = cs_right(softmax(p))
        low = keras.ops.cast(want, dtype[len("mixed_") :])
        np.testing.assert_array_equal(f_tilde, to_numpy(low))
        want = cs_left(softmax(p))
        low = keras.ops.cast(want, dtype[len("mixed_") :])
        np.testing.assert_allclose(i_tilde, to_numpy(low), rtol=1e-6)
        p = np.array([0.5, -1.0, 0.25, 2.0, -0.125, 0.0])


def test_distances_are_float32_under_any_policy():
    layer = ONLSTM(64, 64, return_distances=True, dtype="mixed_bfloat16")
    layer.build((None, None, WIDTH))
    for w in layer.weights:
        w.assign(np.zeros(w.shape))
    symbolic = layer(keras.Input((None, WIDTH)))
    outputs, distances = layer(normal(2, 7, WIDTH))
    for y, d in (symbolic, (outputs, distances)):
        assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
        assert keras.backend.standardize_dtype(d.dtype) == "float32"
    np.testing.assert_allclose(to_numpy(distances), 31.5 / 64, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_masked_bidirectional_stack_trains_compiled(policy):
    x = keras.Input((None,), dtype="int32")
    y = keras.layers.Embedding(9, WIDTH, mask_zero=True)(x)
    first = ONLSTM(UNITS, LEVELS, return_sequences=True, dtype=policy)
    y = keras.layers.Bidirectional(first)(y)
    last = ONLSTM(UNITS, 2, return_distances=True, dtype=policy)
    model = keras.Model(x, [*last(y)])
    jit = keras.config.backend() != "torch"
    model.compile("adam", ["mse", "mse"], jit_compile=jit)
    before = model.get_weights()
    for n in (7, 5):
        ids = np.array([[3, 4, 5, 6, 7, 8, 1][:n], [2, 2, 1] + [0] * (n - 3)])
        targets = [normal(2, UNITS), normal(2, n)]
        model.fit(ids, targets, epochs=2, verbose=0)
    for a, b in zip(model.get_weights(), before, strict=True):
        assert np.isfinite(a).all() and (a != b).any()


@pytest.mark.skipif(
    keras.config.backend() != "jax",
    reason="only JAX compiles for a platform that is not here",
)
@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_learning_is_one_program_for(platform):
    import jax

    layer, _ = built(return_distances=True)
    weights = [w.value for w in layer.trainable_variables]
    rest = [w.value for w in layer.non_trainable_variables]

    def loss(weights, x):
        (y, distances, *_), _ = layer.stateless_call(weights, rest, x)
        return ops.mean(y) + ops.mean(distances)

    step = jax.jit(jax.grad(loss))
    x = normal(2, 7, WIDTH)
    exported = jax.export.export(step, platforms=[platform])(weights, x)
    assert exported.platforms == (platform,)
    assert exported.mlir_module().count("stablehlo.while") == 2
    assert [a.shape for a in exported.out_avals] == [w.shape for w in weights]


# ---- refusals


@pytest.mark.parametrize("cls", [ONLSTM, ONLSTMCell])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((6, 4), "`levels` must divide .*Received: units=6, levels=4"),
        ((0, 1), "`units` must be .*Received: units=0"),
        ((6, 0), "`levels` must be .*Received: levels=0"),
        ((6, -3), "`levels` must be .*Received: levels=-3"),
        ((6.0, 3), "`units` must be .*Received: units=6.0"),
        ((6, True), "`levels` must be .*Received: levels=True"),
        (("6", 3), "`units` must be .*Received: units='6'"),
        ((6, 3, "Su"), "`master_input` .*Received: master_input='Su'"),
        ((6, 3, None), "`master_input` .*Received: master_input=None"),
    ],
)
def test_bad_sizes_are_refused(cls, arguments, message):
    with pytest.raises(ValueError, match=f"{message}$"):
        cls(*arguments)


@pytest.mark.parametrize("name", ["dropconnect", "recurrent_dropconnect"])
@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, float("nan"), None, "0.5"])
def test_bad_rates_are_refused(name, rate):
    with pytest.raises(ValueError, match=f"`{name}` .*Received: {name}="):
        ONLSTM(6, 3, **{name: rate})


def test_an_unrolled_loop_is_refused():
    with pytest.raises(ValueError, match="Received: unroll=True"):
        ONLSTM(6, 3, **{"unroll": True})


def test_distances_are_refused_where_the_history_lies_ahead():
    match = "`return_distances` .*`Bidirectional`.*go_backwards=True"
    with pytest.raises(ValueError, match=match):
        ONLSTM(6, 3, return_distances=True, go_backwards=True)
    with pytest.raises(ValueError, match=match):
        keras.layers.Bidirectional(ONLSTM(6, 3, return_distances=True))


@pytest.mark.parametrize("shape", [(2, 5), (2, 7, 5, 1)])
def test_inputs_of_another_rank_are_refused(shape):
    with pytest.raises(ValueError, match="Received: sequences_shape="):
        ONLSTM(6, 3)(normal(*shape))


@pytest.mark.parametrize("shape", [(2, 6), (7, 2), (2, 7, 1), (2,), (3, 7)])
def test_masks_of_another_shape_are_refused(shape):
    mask = ops.ones(shape, "bool")
    with pytest.raises(ValueError, match=r"Received: mask of shape"):
        ONLSTM(6, 3)(normal(2, 7, WIDTH), mask=mask)


@pytest.mark.parametrize(
    "states", [[normal(2, 6)], [normal(2, 6)] * 3, [normal(2, 1)] * 2]
)
def test_other_states_are_refused(states):
    with pytest.raises(ValueError, match="Received: .*state"):
        ONLSTM(6, 3)(normal(2, 7, WIDTH), initial_state=states)
    with pytest.raises(ValueError, match="Received: .*state"):
        ONLSTMCell(6, 3)(normal(2, WIDTH), states)


def test_a_step_of_unknown_width_is_refused():
    with pytest.raises(ValueError, match="Received: input_shape="):
        ONLSTMCell(6, 3).build((2, None))


@pytest.mark.parametrize("flag", ["False", None, 0, 1])
@pytest.mark.parametrize(
    "name",
    [
        "use_bias",
        "return_distances",
        "return_sequences",
        "return_state",
        "go_backwards",
        "stateful",
        "zero_output_for_mask",
        "unroll",
    ],
)
def test_what_is_no_flag_is_refused(name, flag):
    with pytest.raises(ValueError, match=f"Received: {name}={flag!r}"):
        ONLSTM(6, 3, **{name: flag})
    if name == "use_bias":
        with pytest.raises(ValueError, match=f"Received: {name}={flag!r}"):
            ONLSTMCell(6, 3, use_bias=flag)


@pytest.mark.parametrize("seed", [-1, 2**40, True, "x"])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=f"Received: seed={seed!r}"):
        ONLSTM(6, 3, seed=seed)


def test_numpy_numbers_are_numbers():
    layer = ONLSTM(
        np.int64(6),
        np.int32(3),
        dropconnect=np.float32(0.25),
        seed=np.int64(3),
        use_bias=np.False_,
        return_sequences=np.True_,
    )
    config = json.loads(json.dumps(layer.get_config()))
    assert ONLSTM.from_config(config).get_config() == config


@pytest.mark.parametrize("n", [1, 3])
def test_states_of_another_batch_are_refused(n):
    states = [normal(n, 6)] * 2
    with pytest.raises(ValueError, match="Received: state of shape"):
        ONLSTM(6, 3)(normal(2, 7, WIDTH), initial_state=states)
    with pytest.raises(ValueError, match="Received: state of shape"):
        ONLSTMCell(6, 3)(normal(2, WIDTH), states)


def test_masks_of_floats_are_refused():
    mask = np.full((2, 7), np.nan, "float32")
    with pytest.raises(ValueError, match="Received: mask of float32"):
        ONLSTM(6, 3)(normal(2, 7, WIDTH), mask=ops.convert_to_tensor(mask))


@needs_float64
@pytest.mark.parametrize("activation", ["tanh", "softsign"])
def test_float64_is_kept(activation):
    """Both loops: the one with derivatives written out, and Keras'."""
    x = normal(2, 7, WIDTH)
    layers = [
        ONLSTM(6, 3, activation=activation, dtype=dtype)
        for dtype in ("float64", "float32")
    ]
    for layer in layers:
        layer.build(x.shape)
    weights = [w.astype("float32") for w in layers[0].get_weights()]
    layers[0].set_weights([w.astype("float64") for w in weights])
    layers[1].set_weights(weights)
    wide, narrow = (ops.convert_to_numpy(layer(x)) for layer in layers)
    assert wide.dtype == "float64"
    np.testing.assert_allclose(wide, narrow, rtol=1e-4, atol=1e-6)
    cell, states = layers[0].cell, [np.zeros((2, 6)), np.zeros((2, 6))]
    for t in range(7):
        _, states = cell(x[:, t].astype("float64"), states)
    np.testing.assert_allclose(
        wide, ops.convert_to_numpy(states[0]), rtol=1e-12, atol=1e-14
    )
