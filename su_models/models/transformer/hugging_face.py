"""Configurations of Hugging Face in the words of this library."""

from su_models.models.transformer.gpt import GPT
from su_models.models.transformer.gpt2 import GPT2
from su_models.models.transformer.llama import LLaMA
from su_models.models.transformer.t5 import T5Base

_GPT = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_inner": "intermediate_size",
    "n_positions": "max_position",
    "resid_pdrop": "dropout_rate",
    "attn_pdrop": "attention_dropout_rate",
}
_T5 = {
    "d_model": "hidden_size",
    "d_kv": "attention_head_size",
    "d_ff": "intermediate_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "feed_forward_proj": "hidden_act",
}
# their names of arguments, by `model_type`
_NAMES = {
    "gpt2": {**_GPT, "activation_function": "hidden_act"},
    "openai-gpt": {**_GPT, "afn": "hidden_act"},
    "t5": _T5,
    "mt5": _T5,
    "llama": {
        "head_dim": "attention_head_size",
        "attention_dropout": "attention_dropout_rate",
    },
}
# the families that these names belong to
_FAMILIES = {
    "gpt2": (GPT2, "gpt2"),
    "openai-gpt": (GPT, "gpt"),
    "t5": (T5Base, "t5.1.0 or t5.1.1"),
    "mt5": (T5Base, "mt5.1.1"),
    "llama": (LLaMA, "llama"),
}
# what a key that is absent means there, where it means something else here
_DEFAULTS = {
    "albert": {"hidden_act": "gelu_new", "layer_norm_eps": 1e-12},
    "roformer": {"layer_norm_eps": 1e-12},
    "gpt2": {"activation_function": "gelu_new"},
    "openai-gpt": {"afn": "gelu", "type_vocab_size": 0},
    "t5": {"feed_forward_proj": "relu", "cross_position_bias": False},
    "mt5": {"feed_forward_proj": "gated-gelu", "cross_position_bias": False},
    "llama": {"rms_norm_eps": 1e-6, "tie_word_embeddings": False},
}
_ABSOLUTE = {"position_embedding_type": "absolute"}
_BUCKETS = {
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
}
# options with one value here
_FIXED = {
    "bert": _ABSOLUTE,
    "roberta": {**_ABSOLUTE, "pad_token_id": 1},
    "electra": _ABSOLUTE,
    "albert": {**_ABSOLUTE, "num_hidden_groups": 1, "inner_group_num": 1},
    "roformer": {"rotary_value": False},
    "gpt2": {
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
    },
    "t5": _BUCKETS,
    "mt5": _BUCKETS,
    "llama": {"attention_bias": False, "mlp_bias": False},
}


def from_hugging_face(config, cls):
    """Returns a configuration with the values that it implies, and its names.

    Other configurations, without a `model_type` that is known, are returned
    as they are.

    Article: https://kexue.fm/archives/6915
        《自己实现了一个bert4keras》

    Args:
        config: dict; the content of `config.json`.
        cls: subclass of `Transformer` that it is for.

    Returns:
        A pair: a dict with Hugging Face's keys, and a dict from these keys to
        the arguments of `cls`.

    Raises:
        ValueError: if the configuration is that of another family, or has an
            option that the family does not have here.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in {*_DEFAULTS, *_FIXED}:
        return config, {}
    family, name = _FAMILIES.get(kind, (object, None))
    if not issubclass(cls, family):
        raise ValueError(
            f"The configuration is for `model` {name}, not for "
            f"{cls.__name__}. Received: model_type={kind!r}"
        )
    for key, value in _FIXED.get(kind, {}).items():
        _check(config, key, value)
    made = {**_DEFAULTS.get(kind, {}), **config}
    return made | _VALUES.get(kind, dict)(made), _NAMES.get(kind, {})


def _check(config, key, value):
    """Rejects an option with another value."""
    if config.get(key, value) != value:
        raise ValueError(
            f"The configuration must have {key}={value!r}, the only value "
            f"that is supported. Received: {key}={config[key]!r}"
        )


def _roberta(config):
    size = config.get("max_position_embeddings")
    # no token has the positions 0 and 1: they begin after the padding's id
    return {} if size is None else {"max_position_embeddings": size - 2}


def _gpt(config):
    made = {}
    if config.get("n_inner") is None and config.get("n_embd") is not None:
        made["n_inner"] = 4 * config["n_embd"]
    if config.get("afn") == "gelu":  # the approximation, there
        made["afn"] = "gelu_new"
    return made


def _t5(config):
    if config.get("num_decoder_layers") is not None:
        _check(config, "num_decoder_layers", config.get("num_layers"))
    gated, _, act = str(config["feed_forward_proj"]).rpartition("-")
    if gated:
        # "gelu" alone would be the exact one
        act = ["gelu_new" if act == "gelu" else act, "linear"]
    tied = config.get("tie_word_embeddings", True) is not False
    scaled = config.get("scale_decoder_outputs", tied)
    return {
        "feed_forward_proj": act,
        "output_scale": scaled and config["model_type"] == "t5",
    }


def _llama(config):
    rope = config.get("rope_parameters") or {}
    for options in (rope, config.get("rope_scaling") or {}):
        kind = options.get("rope_type", options.get("type", "default"))
        _check({"rope_type": kind}, "rope_type", "default")
    base = rope.get("rope_theta", config.get("rope_theta", 10000.0))
    return {"rope_theta": base}


# functions that compute values
_VALUES = {
    "roberta": _roberta,
    "gpt2": _gpt,
    "openai-gpt": _gpt,
    "t5": _t5,
    "mt5": _t5,
    "llama": _llama,
}
