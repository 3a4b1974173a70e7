"""Peer: bert4keras, name by name, with its own call forms.

It needs Keras 2: see `legacy.py`.
"""

import keras
import numpy as np
import pytest

from su_models.compat.bert4keras import backend, layers, optimizers
from su_models.compat.bert4keras.snippets import AutoRegressiveDecoder
from tests.contract import integers, normal, to_numpy
from tests.parity.legacy import run_legacy

pytestmark = pytest.mark.parity

X, Y = normal(3, 7, 6), normal(3, 5, 6)
MASK = np.arange(7) < np.array([[7], [4], [1]])
SCORES = normal(3, 2, 7, 7)
IDS = integers(6, 3, 7)
PAIRS = np.tril(np.ones((3, 7, 7), bool))
EXTRA = normal(3, 1, 7, 7)
MULTI_HOT = (normal(3, 7, 6) > 0).astype("float32")
ARRAYS = {
    "x": X,
    "y": Y,
    "mask": MASK,
    "scores": SCORES,
    "ids": IDS,
    "pairs": PAIRS,
    "extra": EXTRA,
    "condition": normal(3, 5),
    "multi_hot": MULTI_HOT,
    "sinusoids": normal(3, 7, 6),
    "sinusoids4": normal(3, 7, 4),
    "relative": normal(7, 7, 3),
    "t5_bias": normal(7, 7, 2),
    "weight": normal(3, 4),
    "slopes": normal(5, 3, 4),
    "table": 2 * normal(6, 3, 6),
}
SIZES = {"heads": 2, "head_size": 3, "key_size": 4, "out_dim": 5}
# bert4keras' weights: first dense, offset and scale of Q, of K, second dense
GAU_ORDER = (4, 5, 1, 0, 3, 2, 6, 7)


def cases():
    """Yields the name, the layer, its inputs and its call arguments."""
    a = ARRAYS
    qkv, wide, attention = [X, X, X], a["sinusoids4"], layers.MultiHeadAttention
    padded = {"query_mask": MASK}
    self_padded = {"mask": MASK}
    both = {**padded, "a_bias": True}
    yield "plain", attention(**SIZES), qkv, self_padded
    yield "pair_mask", attention(**SIZES), [*qkv, PAIRS], both
    yield "added", attention(**SIZES), [*qkv, EXTRA], both
    rotary = {**both, "p_bias": "rotary"}
    yield "rotated", attention(**SIZES), [*qkv, PAIRS, wide], rotary
    equal = {**SIZES, "key_size": 3}
    typical = {**padded, "p_bias": "typical_relative"}
    yield "relative", attention(**equal), [*qkv, a["relative"]], typical
    t5 = {**both, "p_bias": "t5_relative"}
    yield "t5", attention(**SIZES), [*qkv, EXTRA, a["t5_bias"]], t5
    yield "cross", attention(**SIZES), [X, Y, Y], {}
    yield "unscaled", attention(attention_scale=False, **SIZES), qkv, {}
    scored = attention(return_attention_scores=True, **SIZES)
    yield "scored", scored, qkv, self_padded
    unit = layers.GatedAttentionUnit
    rotary = {"a_bias": True, "p_bias": "rotary"}
    yield "gau", unit(5, 4), [X, PAIRS, wide], rotary
    plus = unit(5, 4, normalization="softmax_plus")
    yield "gau_masked", plus, X, self_padded
    position = layers.PositionEmbedding
    yield "position", position(9, 6), X, {}
    custom = position(9, 6, "mul", custom_position_ids=True)
    yield "custom_position", custom, [X, IDS.astype("float32")], {}
    yield "sinusoidal", layers.SinusoidalPositionEmbedding(6, "concat"), X, {}
    embed = layers.RelativePositionEmbedding(5, 3)
    yield "relative_embedding", embed, [X, Y], {}
    for side in (True, False):
        bias = layers.RelativePositionEmbeddingT5(8, 2, 5, side)
        yield f"t5_embedding_{side}", bias, [X, Y], {}
    norm = layers.LayerNormalization(
        conditional=True, hidden_units=3, hidden_activation="tanh"
    )
    yield "norm", norm, [X, a["condition"]], {}
    rms = layers.LayerNormalization(False, True, 1e-3, offset=False)
    yield "rms_norm", rms, X, {}
    yield "max_pool", layers.GlobalMaxPooling1D(), X, self_padded
    yield "joined", layers.Concatenate1D(), [X, Y], {}


def call(layer, inputs, kwargs):
    tensors = keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)
    if isinstance(inputs, list) and inputs[1] is inputs[0]:
        tensors[:3] = [tensors[0]] * 3  # self-attention
    return layer(tensors, **kwargs)


CASES = {name: case for name, *case in cases()}


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    weights = {}
    for name, case in CASES.items():
        layer = case[0]
        call(*case)
        ours = layer.weights
        if name.startswith("gau"):
            ours = [ours[i] for i in GAU_ORDER]
        for i, w in enumerate(ours):
            random = np.random.default_rng(i)
            value = random.normal(size=w.shape).astype("float32") / 2
            w.assign(value)
            weights[f"{name}|{i}"] = theirs(w, value)
    return run_legacy(
        "legacy_compat.py",
        tmp_path_factory.mktemp("compat"),
        **ARRAYS,
        **weights,
    )


def theirs(variable, value):
    """Returns a kernel as a matrix: bert4keras has no axis of heads."""
    if "multi_head_attention" not in variable.path:
        return value
    if variable.path.endswith("bias"):
        return value.reshape(-1)
    if "attention_output" in variable.path:
        return value.reshape(-1, value.shape[-1])
    return value.reshape(value.shape[0], -1)


def assert_close(ours, peers):
    """Float32 parity: 1e-5 of the peer's largest finite value."""
    finite = np.where(np.isfinite(peers), peers, 0)
    atol = 1e-5 * max(np.abs(finite).max(), 1e-3)
    np.testing.assert_allclose(to_numpy(ours), peers, rtol=0, atol=atol)


@pytest.mark.parametrize("name", CASES)
def test_layers(peers, name):
    outputs = call(*CASES[name])
    if name == "scored":
        outputs, scores = outputs
        assert_close(scores, peers["scored_scores"])
    assert_close(outputs, peers[name])


def functions():
    f, a = backend.sequence_masking, ARRAYS
    yield "masking", f(X, MASK, -1.0, 1)
    yield "masking_both", f(SCORES, MASK, 0.0, [2, 3])
    yield "masking_bias", f(SCORES, MASK, 0.0, -1, EXTRA)
    yield "masking_pairs", f(SCORES, MASK, 0.0, -1, PAIRS[:, None])
    for method in ("softmax", "squared_relu", "softmax_plus"):
        name = f"normalize_{method}"
        scores = keras.ops.convert_to_tensor(SCORES)
        normalized = backend.attention_normalize(
            scores, MASK, -1, method, EXTRA
        )
        yield name, normalized
    yield "gather", backend.batch_gather(X, IDS)
    sinusoids = keras.ops.convert_to_tensor(a["sinusoids"])
    x = keras.ops.convert_to_tensor(X)
    yield "rotary", backend.apply_rotary_position_embeddings(sinusoids, x)
    yield "sinusoids", backend.sinusoidal_embeddings(IDS, 6)
    loss = backend.multilabel_categorical_crossentropy
    yield "multilabel", loss(MULTI_HOT, X)
    loss = backend.sparse_multilabel_categorical_crossentropy
    yield "sparse", loss(IDS, X)
    yield "sparse_zero", loss(IDS, X, True)
    for from_zero in (True, False):
        steps = np.arange(10.0)
        line = backend.piecewise_linear(steps, {2: 1, 5: 0.1}, from_zero)
        yield f"linear_{from_zero}", line
    yield "rms", backend.root_mean_square(X, axis=-1)
    yield "reshape", backend.reshape(X, (2, -1), -1)
    yield "flatten", backend.flatten(X, 1)
    yield "gelu_tanh", backend.gelu_tanh(x)
    yield "gelu_erf", backend.gelu_erf(x)
    yield "pool", backend.pool1d(X, 3, 2, "same", None, "avg")
    yield "divisible", backend.divisible_temporal_padding(x, 4)


def test_functions_of_tensors(peers):
    for name, ours in functions():
        assert_close(ours, peers[name])


def make_optimizer(name):
    adam, extend = optimizers.Adam, optimizers
    if name == "adam_raw":
        return adam(learning_rate=0.1, bias_correction=False)
    decayed = extend.extend_with_weight_decay(adam)
    kinds = {
        "adam": adam,
        "lion": optimizers.Lion,
        "decay": decayed,
        "lamb": extend.extend_with_layer_adaptation(decayed),
        "piecewise": extend.extend_with_piecewise_linear_lr(adam),
        "ema": extend.extend_with_exponential_moving_average(adam),
    }
    kwargs = {
        "piecewise": {"lr_schedule": {2: 1, 4: 0.5}},
        "ema": {"ema_momentum": 0.7},
    }
    return kinds[name](learning_rate=0.1, **kwargs.get(name, {}))


@pytest.mark.parametrize(
    "name", ["adam", "adam_raw", "lion", "decay", "lamb", "piecewise", "ema"]
)
def test_optimizers(peers, name):
    optimizer = make_optimizer(name)
    w = keras.Variable(ARRAYS["weight"], name="kernel")
    for slope in ARRAYS["slopes"]:
        optimizer.apply([keras.ops.convert_to_tensor(slope)], [w])
    # Keras decays before the step, bert4keras after it: α² λ apart
    atol = 5e-3 if name in ("decay", "lamb") else 1e-5
    np.testing.assert_allclose(
        to_numpy(w), peers[f"optimizer_{name}"], atol=atol
    )
    if name == "ema":
        before = to_numpy(w)
        optimizer.apply_ema_weights()
        assert_close(w, peers["optimizer_ema_average"])
        optimizer.reset_old_weights()
        np.testing.assert_array_equal(to_numpy(w), before)


class Decoder(AutoRegressiveDecoder):
    @AutoRegressiveDecoder.wraps("logits", use_states=True)
    def predict(self, inputs, output_ids, states):
        last = output_ids[:, -1] if output_ids.shape[1] else inputs[0][:, 0]
        table = ARRAYS["table"]
        logits = table[last, output_ids.shape[1] % table.shape[1]]
        return logits + 0.1 * states, states + 1


@pytest.mark.parametrize(
    ("i", "case"),
    [
        *enumerate(
            [(None, 1, 1, 1), (2, 3, 3, 1), (None, 2, 4, 2), (0, 1, 2, 1)]
        )
    ],
)
def test_decoding_with_the_same_random_numbers(peers, i, case):
    start, minlen, width, ends = case
    decoder = Decoder(start, 1, 7, minlen)
    found = decoder.beam_search([[3, 4]], width, 0, 1.3, ends)
    np.testing.assert_array_equal(found, peers[f"beam_{i}"])
    np.random.seed(i)
    for j, (k, p) in enumerate(
        [(None, None), (3, None), (None, 0.7), (4, 0.6)]
    ):
        samples = decoder.random_sample([[3, 4]], 5, k, p, 0, 0.8, ends)
        assert len(samples) == 5
        for n, sample in enumerate(samples):
            np.testing.assert_array_equal(sample, peers[f"sample_{i}_{j}_{n}"])
