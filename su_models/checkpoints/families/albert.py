"""ALBERT: Google's names, brightmart's older ones, and Hugging Face's."""

import dataclasses

from su_models.checkpoints.families.bert import (
    NAMES,
    torch_column,
    torch_names,
)
from su_models.checkpoints.families.columns import GOOGLE, hugging_face
from su_models.checkpoints.families.layers import rows_of
from su_models.checkpoints.table import Family

_GOOGLE = dataclasses.replace(GOOGLE, name="google_albert")
_OLD = dataclasses.replace(GOOGLE, name="brightmart")
_TORCH = hugging_face(
    "albert",
    r"embeddings|encoder|pooler",
    r"predictions\.decoder\..*",
    name="hugging_face_albert",
)

_GROUP = "bert/encoder/transformer/group_0/inner_group_0"
_NAMES = {
    **NAMES,
    "query": f"{_GROUP}/attention_1/self/query",
    "key": f"{_GROUP}/attention_1/self/key",
    "value": f"{_GROUP}/attention_1/self/value",
    "attention_output": f"{_GROUP}/attention_1/output/dense",
    "attention_norm": f"{_GROUP}/LayerNorm",
    "hidden_0": f"{_GROUP}/ffn_1/intermediate/dense",
    "hidden_1": f"{_GROUP}/ffn_1/intermediate/dense_1",
    "output": f"{_GROUP}/ffn_1/intermediate/output/dense",
    "feed_forward_norm": f"{_GROUP}/LayerNorm_1",
}
# The sum of the embeddings is as wide as the model there: the tokens' are
# multiplied with a matrix first, which makes one table of both
_OLD_NAMES = {
    key: name.replace("layer_{i}", "layer_shared")
    if isinstance(name, str)
    else name
    for key, name in NAMES.items()
    if key != "mapping"
} | {
    "tokens": (
        "bert/embeddings/word_embeddings",
        {"times": "bert/embeddings/word_embeddings_2"},
    )
}
_LAYER = "albert.encoder.albert_layer_groups.0.albert_layers.0"
_TORCH_NAMES = {
    **torch_names("albert"),
    "query": f"{_LAYER}.attention.query",
    "key": f"{_LAYER}.attention.key",
    "value": f"{_LAYER}.attention.value",
    "attention_output": f"{_LAYER}.attention.dense",
    "attention_norm": f"{_LAYER}.attention.LayerNorm",
    "hidden_0": f"{_LAYER}.ffn",
    "hidden_1": f"{_LAYER}.ffn_1",
    "output": f"{_LAYER}.ffn_output",
    "feed_forward_norm": f"{_LAYER}.full_layer_layer_norm",
    "pooler": "albert.pooler",
    "nsp_kernel": ("sop_classifier.classifier.weight", {"transposed": True}),
    "nsp_bias": "sop_classifier.classifier.bias",
    "mlm_dense": "predictions.dense",
    "mlm_norm": "predictions.LayerNorm",
    "mlm_bias": "predictions.bias",
}
_COLUMNS = {_GOOGLE: _NAMES, _OLD: _OLD_NAMES, _TORCH: _TORCH_NAMES}

ALBERT = Family(
    "albert",
    tuple(_COLUMNS),
    rows_of(_COLUMNS, block="Transformer"),
    marks=("Transformer-MultiHeadSelfAttention",),
)

_BERT = {GOOGLE: NAMES, torch_column("bert"): torch_names("bert")}
# reads the one block of ALBERT into all, writes the blocks as BERT's
ALBERT_UNSHARED = Family(
    "albert_unshared",
    (*_BERT, *_COLUMNS),
    rows_of({**_BERT, **_COLUMNS}),
    asked=True,
)
