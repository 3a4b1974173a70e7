"""GPT2-ML: the names of its authors; Hugging Face has none for it."""

from su_models.checkpoints.families.columns import GOOGLE, hugging_face
from su_models.checkpoints.families.layers import rows_of
from su_models.checkpoints.table import Family

_BLOCK = "newslm/layer{i:02d}"
_NAMES = {
    "tokens": "newslm/embeddings/word_embed",
    "positions": "newslm/embeddings/pos_embed",
    "embedding_norm": "newslm/embeddings/LayerNorm_embed_norm",
    "mapping": "newslm/embeddings/embedding_hidden_mapping_in",
    "query": f"{_BLOCK}/query_layer",
    "key": f"{_BLOCK}/key_layer",
    "value": f"{_BLOCK}/value_layer",
    "attention_output": f"{_BLOCK}/context_projection_layer",
    "norm_0": f"{_BLOCK}/LayerNorm_mlp_ln0",
    "hidden_0": f"{_BLOCK}/intermediate",
    "hidden_1": f"{_BLOCK}/intermediate_1",
    "output": f"{_BLOCK}/output",
    "norm_1": f"{_BLOCK}/LayerNorm_mlp_ln1",
    "output_mapping": "newslm/embedding_hidden_mapping_out",
}
_TORCH = hugging_face("newslm", r"embeddings|layer\d+")
_TORCH_NAMES = {key: name.replace("/", ".") for key, name in _NAMES.items()}

GPT2_ML = Family(
    "gpt2_ml",
    (GOOGLE, _TORCH),
    rows_of({GOOGLE: _NAMES, _TORCH: _TORCH_NAMES}),
    marks=("Transformer-0-FeedForward-Norm-0",),
)
