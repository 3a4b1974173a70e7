"""GPT-2: the names of bert4keras, of OpenAI and of Hugging Face."""

from su_models.checkpoints.families.columns import GOOGLE, SLOTS
from su_models.checkpoints.families.gpt import (
    GPT_NAMES,
    torch_column,
    torch_names,
)
from su_models.checkpoints.families.layers import rows_of
from su_models.checkpoints.table import Column, Family

_NAMES = {
    **{
        key: name.replace("output/LayerNorm", "input/LayerNorm")
        for key, name in GPT_NAMES.items()
        if key not in ("segments", "embedding_norm")
    },
    "output_norm": "gpt/output/LayerNorm",
}
_OPENAI = Column(
    "openai", "tf1", "/w", "/b", "/g", "/b", leading=True, ignored=SLOTS
)
_TORCH = torch_column(r"wte|wpe|h|ln_f")
_TORCH_NAMES = {
    **torch_names("wte", "wpe"),
    "output_norm": "transformer.ln_f",
}
del _TORCH_NAMES["segments"]


def _openai(name):
    """Returns OpenAI's name, from Hugging Face's."""
    name, options = name if isinstance(name, tuple) else (name, {})
    name = name.replace("transformer.", "model/").replace("h.{i}", "h{i}")
    return name.replace(".", "/"), options


_OPENAI_NAMES = {
    key: _openai(name)
    for key, name in _TORCH_NAMES.items()
    if "mapping" not in key and key != "hidden_1"
}
_OPENAI_NAMES |= {
    key: name
    for key, (name, _) in _OPENAI_NAMES.items()
    if key.endswith("norm")
}

GPT2 = Family(
    "gpt2",
    (GOOGLE, _OPENAI, _TORCH),
    rows_of({GOOGLE: _NAMES, _OPENAI: _OPENAI_NAMES, _TORCH: _TORCH_NAMES}),
    marks=("Output-Norm",),
    lacks=("Embedding-Rotary-Position",),
)
