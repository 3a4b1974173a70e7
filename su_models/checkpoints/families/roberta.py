"""RoBERTa: the names of BERT, or those that Hugging Face has for it."""

from su_models.checkpoints.families.bert import (
    NAMES,
    torch_column,
    torch_names,
)
from su_models.checkpoints.families.columns import GOOGLE, hugging_face
from su_models.checkpoints.families.layers import rows_of
from su_models.checkpoints.table import Family

_ROBERTA = hugging_face(
    "roberta",
    r"embeddings|encoder|pooler",
    r"lm_head\.decoder\..*",
    name="roberta",
)
_BERT = torch_column("bert")
_OTHERS = {  # nothing was trained to predict the next sentence
    # its first position is row 2
    "positions": (
        "roberta.embeddings.position_embeddings",
        {"skipped": 2},
    ),
    "mlm_dense": "lm_head.dense",
    "mlm_norm": "lm_head.layer_norm",
    "mlm_bias": "lm_head.bias",
}
_NAMES = {**torch_names("roberta"), **_OTHERS}

ROBERTA = Family(
    "roberta",
    (GOOGLE, _ROBERTA, _BERT),
    rows_of({GOOGLE: NAMES, _ROBERTA: _NAMES, _BERT: torch_names("bert")}),
    asked=True,
)
