"""Configurations as Hugging Face writes them.

Article: https://kexue.fm/archives/6915

What the models compute is compared in `tests/parity/test_checkpoints.py`.
"""

import json

import keras
import pytest

from su_models.models import build_transformer_model
from su_models.models.transformer.activations import gelu_tanh
from su_models.models.transformer.hugging_face import from_hugging_face
from su_models.models.transformer.t5 import T5

GPT2 = {
    "model_type": "gpt2",
    "vocab_size": 31,
    "n_embd": 12,
    "n_layer": 2,
    "n_head": 3,
    "n_positions": 9,
    "n_inner": None,
    "resid_pdrop": 0.3,
    "attn_pdrop": 0.2,
    "layer_norm_epsilon": 1e-4,
}
T5_SIZES = {
    "model_type": "t5",
    "vocab_size": 31,
    "d_model": 12,
    "d_kv": 5,
    "d_ff": 20,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 3,
    "dropout_rate": 0.1,
    "layer_norm_epsilon": 1e-6,
}
BERT = {
    "model_type": "bert",
    "vocab_size": 31,
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "hidden_act": "gelu",
    "max_position_embeddings": 11,
}
LLAMA = {
    **BERT,
    "model_type": "llama",
    "hidden_act": "silu",
    "num_key_value_heads": 1,
    "head_dim": 6,
}


def built(tmp_path, config, name, **kwargs):
    """Returns what builds the model of a folder."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    return build_transformer_model(
        tmp_path, model=name, return_keras_model=False, **kwargs
    )


@pytest.mark.parametrize(
    ("config", "name", "act"),
    [
        (GPT2, "gpt2", gelu_tanh),
        ({**GPT2, "model_type": "openai-gpt"}, "gpt", gelu_tanh),
        ({**GPT2, "activation_function": "gelu"}, "gpt2", None),
    ],
)
def test_gpt(config, name, act, tmp_path):
    made = built(tmp_path, config, name)
    assert len(made.model.inputs) == 1  # no segments
    assert made.max_position == 9
    assert made.num_hidden_layers == 2
    assert made.intermediate_size == 48  # 4 times hidden_size
    assert made.hidden_act is (act or keras.activations.gelu)
    assert (made.dropout_rate, made.attention_dropout_rate) == (0.3, 0.2)
    assert made.epsilon == 1e-4
    attention = made.layers["Transformer-0-MultiHeadSelfAttention"]
    assert attention.head_dim == 4
    assert built(tmp_path, config, name, dropout_rate=0.1).dropout_rate == 0.1


@pytest.mark.parametrize(
    ("config", "acts", "scaled"),
    [
        ({}, keras.activations.relu, True),
        ({"tie_word_embeddings": False}, keras.activations.relu, False),
        # of version 5, which sets the other key back
        (
            {"scale_decoder_outputs": False, "tie_word_embeddings": True},
            keras.activations.relu,
            False,
        ),
        (
            {"feed_forward_proj": "gated-gelu"},
            [gelu_tanh, keras.activations.linear],
            True,
        ),
        (
            {"feed_forward_proj": "gated-silu", "model_type": "mt5"},
            [keras.activations.silu, keras.activations.linear],
            False,
        ),
    ],
)
def test_t5(config, acts, scaled, tmp_path):
    made = built(tmp_path, {**T5_SIZES, **config}, "t5")
    assert made.hidden_act == acts
    assert made.output_scale is scaled
    assert made.cross_position_bias is False
    assert made.attention_head_size == 5
    assert made.intermediate_size == 20
    # bert4keras' defaults can be asked for
    kwargs = {"cross_position_bias": True, "output_scale": True}
    made = built(tmp_path, {**T5_SIZES, **config}, "t5", **kwargs)
    assert made.output_scale is made.cross_position_bias is True


@pytest.mark.parametrize(
    ("config", "base"),
    [
        ({}, 1e4),
        ({"rope_theta": 5e5, "rope_scaling": None}, 5e5),
        ({"rope_parameters": {"rope_theta": 7.0, "rope_type": "default"}}, 7.0),
    ],
)
def test_llama(config, base, tmp_path):
    made = built(tmp_path, {**LLAMA, **config}, "llama")
    assert made.rotary_base == base
    assert made.epsilon == 1e-6
    assert made.tie_word_embeddings is False
    assert made.num_key_value_heads == 1
    assert made.attention_head_size == 6
    tied = {**LLAMA, **config, "tie_word_embeddings": True}
    assert built(tmp_path, tied, "llama").tie_word_embeddings is True


def test_positions_of_roberta_begin_at_2(tmp_path):
    config = {**BERT, "model_type": "roberta", "pad_token_id": 1}
    assert built(tmp_path, config, "roberta").max_position == 9
    assert built(tmp_path, BERT, "roberta").max_position == 11


@pytest.mark.parametrize("name", ["albert", "roformer"])
def test_epsilon_where_it_is_not_given(name, tmp_path):
    made = built(tmp_path, {**BERT, "model_type": name}, name)
    norm = made.layers[
        "Transformer-FeedForward-Norm"
        if name == "albert"
        else "Transformer-0-FeedForward-Norm"
    ]
    assert norm.epsilon == 1e-12


@pytest.mark.parametrize("kind", [None, 3, [], "gpt5"])
def test_other_configurations_stay_as_they_are(kind):
    config = {"model_type": kind, "n_embd": 3}
    assert from_hugging_face(config, T5) == (config, {})


@pytest.mark.parametrize(
    ("config", "name", "words"),
    [
        (GPT2, "bert", "for `model` gpt2, not for BERT.*model_type='gpt2'"),
        (T5_SIZES, "gpt2", "for `model` t5.1.0 or t5.1.1"),
        ({**T5_SIZES, "num_decoder_layers": 3}, "t5", "num_decoder_layers=3"),
        (
            {**T5_SIZES, "relative_attention_num_buckets": 8},
            "t5",
            "relative_attention_num_buckets=32, .* Received",
        ),
        ({**LLAMA, "attention_bias": True}, "llama", "attention_bias=False"),
        (
            {**LLAMA, "rope_scaling": {"type": "linear", "factor": 2.0}},
            "llama",
            "Received: rope_type='linear'",
        ),
        (
            {**LLAMA, "rope_parameters": {"rope_type": "llama3"}},
            "llama",
            "Received: rope_type='llama3'",
        ),
        (
            {**GPT2, "scale_attn_by_inverse_layer_idx": True},
            "gpt2",
            "scale_attn_by_inverse_layer_idx=True",
        ),
        (
            {**BERT, "position_embedding_type": "relative_key"},
            "bert",
            "position_embedding_type='relative_key'",
        ),
        (
            {**BERT, "model_type": "albert", "num_hidden_groups": 2},
            "albert",
            "num_hidden_groups=2",
        ),
        (
            {**BERT, "model_type": "roformer", "rotary_value": True},
            "roformer",
            "rotary_value=True",
        ),
        (
            {**BERT, "model_type": "roberta", "pad_token_id": 0},
            "roberta",
            "pad_token_id=0",
        ),
        (
            {**GPT2, "max_position_embeddings": 8},
            "gpt2",
            "disagree.*n_positions",
        ),
        ({**GPT2, "n_embd": "12"}, "gpt2", "hidden_size='12'"),
    ],
)
def test_wrong_configurations(config, name, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        built(tmp_path, config, name)
