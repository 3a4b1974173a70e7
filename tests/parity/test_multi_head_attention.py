"""Article: https://kexue.fm/archives/4765
    《Attention is All You Need》浅读（简介+代码）

Peers: attention of Keras; of RoFormer and T5 in Hugging Face transformers
(PyTorch). Float32, random weights, full and padded batches, to 1e-5 of the
peer's largest value; gradients too where the backend is the peer's.
"""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend.autodiff import gradient
from su_models.layers import MultiHeadAttention, RelativePositionBias
from tests.contract import normal, to_numpy

pytestmark = pytest.mark.parity
HEADS, DIM, LENGTH = 3, 16, 9
LENGTHS = pytest.mark.parametrize(
    "lengths", [(9, 9), (9, 4)], ids=["full", "padded"]
)


def assert_close(ours, peers):
    atol = 1e-5 * np.abs(peers).max()
    np.testing.assert_allclose(ours, peers, rtol=0, atol=atol)


def padding(lengths):
    return np.arange(LENGTH) < np.array(lengths)[:, None]


# ---- Keras


def keras_pair(**more):
    """Ours and Keras', with the same weights that are not tiny."""
    names = {"key_dim": DIM, "value_dim": DIM, "output_shape": None, **more}
    peer = keras.layers.MultiHeadAttention(HEADS, **names)
    ours = MultiHeadAttention(
        HEADS,
        names["value_dim"],
        key_dim=names["key_dim"],
        output_dim=names["output_shape"],
        use_bias=names.get("use_bias", True),
    )
    shape = (2, LENGTH, 48)
    peer.build(shape, shape)
    ours.build(shape)
    values = [
        0.3 * normal(i + 1, *w.shape)[i] for i, w in enumerate(peer.weights)
    ]
    peer.set_weights(values)
    ours.set_weights(values)
    return ours, peer


@LENGTHS
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"use_bias": False},
        {"key_dim": 8, "value_dim": 20, "output_shape": 5},
    ],
    ids=str,
)
def test_attention_of_keras(more, causal, lengths):
    ours, peer = keras_pair(**more)
    x, mask = normal(2, LENGTH, 48), padding(lengths)
    pairs = {"attention_mask": mask[:, None], "use_causal_mask": causal}
    # with scores: else Keras on JAX wants heads of values to be those of keys
    pairs["return_attention_scores"] = True
    want = to_numpy(peer(x, x, **pairs)[0])
    got = to_numpy(ours(x, attention_mask=mask, use_causal_mask=causal))
    assert_close(got, want)
    target = ops.convert_to_tensor(normal(*want.shape))

    def loss(layer):
        return lambda x: ops.sum(layer(x, x, **pairs)[0] * target)

    assert_close(
        *(to_numpy(gradient(loss(layer), x)) for layer in (ours, peer))
    )


def test_cross_attention_and_scores_of_keras():
    ours, peer = keras_pair()
    x, y = normal(2, 5, 48), normal(2, LENGTH, 48) + 1
    given = {
        "attention_mask": normal(2, 5, LENGTH) > 0,
        "return_attention_scores": True,
    }
    pairs = zip(ours(x, y, **given), peer(x, y, **given), strict=True)
    for got, want in pairs:
        assert_close(to_numpy(got), to_numpy(want))


# ---- transformers


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch", reason="peer: PyTorch")
    pytest.importorskip("transformers", reason="peer: transformers")
    torch.manual_seed(0)
    return torch


def split(linear, heads, out=False):
    """Weights of a PyTorch projection, in the shapes of ours."""
    kernel = linear.weight.detach().numpy().T
    shape = (heads, -1, kernel.shape[1]) if out else (len(kernel), heads, -1)
    weights = [kernel.reshape(shape)]
    if linear.bias is not None:
        bias = linear.bias.detach().numpy()
        weights.append(bias if out else bias.reshape(heads, -1))
    return weights


@LENGTHS
def test_self_attention_of_roformer(torch, lengths):
    from transformers.models.roformer import modeling_roformer as roformer

    config = roformer.RoFormerConfig(
        hidden_size=HEADS * DIM,
        num_attention_heads=HEADS,
        attention_probs_dropout_prob=0.0,
    )
    peer = roformer.RoFormerSelfAttention(config).eval()
    positions = roformer.RoFormerSinusoidalPositionalEmbedding(1536, DIM)
    x, mask = normal(2, LENGTH, HEADS * DIM), padding(lengths)
    bias = np.where(mask, 0.0, -1e9).astype("float32")[:, None, None]
    with torch.no_grad():
        want, _ = peer(
            torch.from_numpy(x),
            torch.from_numpy(bias),
            sinusoidal_pos=positions.create_weight()[None, None, :LENGTH],
        )
    ours = MultiHeadAttention(HEADS, DIM, rotary_base=10000.0)
    ours.build(x.shape)
    eye = np.eye(HEADS * DIM, dtype="float32")
    ours.set_weights(
        [
            *split(peer.query, HEADS),
            *split(peer.key, HEADS),
            *split(peer.value, HEADS),
            eye.reshape(HEADS, DIM, -1),  # the peer's output stands apart
            np.zeros(len(eye)),
        ]
    )
    got = to_numpy(ours(x, attention_mask=mask))
    assert_close(got, want.numpy())


@LENGTHS
@pytest.mark.parametrize("decoder", [False, True])
def test_attention_with_the_bias_of_t5(torch, decoder, lengths):
    from transformers.models.t5 import modeling_t5 as t5

    config = t5.T5Config(
        d_model=24, d_kv=DIM, num_heads=HEADS, dropout_rate=0.0
    )
    config.is_decoder = decoder
    peer = t5.T5Attention(
        config, has_relative_attention_bias=True, is_causal=decoder
    ).eval()
    x, mask = normal(2, LENGTH, 24), padding(lengths)
    allowed = np.repeat(mask[:, None], LENGTH, axis=1)
    if decoder:
        allowed = allowed & np.tri(LENGTH, dtype=bool)
    add = np.where(allowed, 0.0, -1e9).astype("float32")[:, None]
    with torch.no_grad():
        want = peer(torch.from_numpy(x), mask=torch.from_numpy(add))[0]
    bias = RelativePositionBias(
        HEADS,
        config.relative_attention_num_buckets,
        config.relative_attention_max_distance,
        bidirectional=not decoder,
    )
    bias.build(x.shape)
    table = peer.relative_attention_bias.weight.detach().numpy()
    bias.set_weights([table])
    ours = MultiHeadAttention(HEADS, DIM, use_bias=False, attention_scale=False)
    ours.build(x.shape)
    ours.set_weights(
        [
            *split(peer.q, HEADS),
            *split(peer.k, HEADS),
            *split(peer.v, HEADS),
            *split(peer.o, HEADS, out=True),
        ]
    )
    got = ours(
        x,
        attention_bias=bias(x),
        attention_mask=mask,
        use_causal_mask=decoder,
    )
    assert_close(to_numpy(got), want.numpy())
