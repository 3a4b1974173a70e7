"""LLaMA: the names of Meta, in llama2.c and TF1, and of Hugging Face."""

from su_models.checkpoints.families.columns import SLOTS, hugging_face
from su_models.checkpoints.families.layers import rows_of
from su_models.checkpoints.table import Column, Family

_META = Column(
    "meta",
    "llama2.c",
    ".weight",
    ".bias",
    ".weight",
    ".bias",
    ".weight",
    transposed=True,
)
# nobody else writes LLaMA in this format; kernels are (inputs, outputs)
_TF1 = Column(
    "google", "tf1", "/kernel", "/bias", "/gamma", "/beta", ignored=SLOTS
)
_TORCH = hugging_face("model", r"embed_tokens|layers|norm")
_BLOCK = "layers.{i}"
_NAMES = {
    "tokens": "tok_embeddings",
    "attention_norm": f"{_BLOCK}.attention_norm",
    "query": f"{_BLOCK}.attention.wq",
    "key": f"{_BLOCK}.attention.wk",
    "value": f"{_BLOCK}.attention.wv",
    "attention_output": f"{_BLOCK}.attention.wo",
    "feed_forward_norm": f"{_BLOCK}.ffn_norm",
    "hidden_0": f"{_BLOCK}.feed_forward.w1",
    "hidden_1": f"{_BLOCK}.feed_forward.w3",
    "output": f"{_BLOCK}.feed_forward.w2",
    "output_norm": "norm",
    "lm": "output",
}
_MAPPINGS = {
    "mapping": "embedding_hidden_mapping_in",
    "output_mapping": "embedding_hidden_mapping_out",
}
_TF1_NAMES = {
    key: "llama/" + name.replace(".", "/").replace("layers/{i}", "layer_{i}")
    for key, name in {**_NAMES, **_MAPPINGS}.items()
}
_TORCH_BLOCK = "model.layers.{i}"
_TORCH_NAMES = {
    "tokens": "model.embed_tokens",
    "attention_norm": f"{_TORCH_BLOCK}.input_layernorm",
    # halves of a head are rotated there, adjacent features here
    "query": (f"{_TORCH_BLOCK}.self_attn.q_proj", {"halves": True}),
    "key": (f"{_TORCH_BLOCK}.self_attn.k_proj", {"halves": True}),
    "value": f"{_TORCH_BLOCK}.self_attn.v_proj",
    "attention_output": f"{_TORCH_BLOCK}.self_attn.o_proj",
    "feed_forward_norm": f"{_TORCH_BLOCK}.post_attention_layernorm",
    "hidden_0": f"{_TORCH_BLOCK}.mlp.gate_proj",
    "hidden_1": f"{_TORCH_BLOCK}.mlp.up_proj",
    "output": f"{_TORCH_BLOCK}.mlp.down_proj",
    "output_norm": "model.norm",
    "lm": "lm_head",
    **_MAPPINGS,
}

LLAMA = Family(
    "llama",
    (_META, _TF1, _TORCH),
    rows_of(
        {_META: _NAMES, _TF1: _TF1_NAMES, _TORCH: _TORCH_NAMES},
        bias=False,
        offset=False,
    ),
    marks=("Output-Norm", "Embedding-Rotary-Position"),
)
