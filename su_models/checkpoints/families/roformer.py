"""RoFormer and RoFormerV2: the names of BERT, without positions."""

import dataclasses

from su_models.checkpoints.families.bert import (
    NAMES,
    torch_column,
    torch_names,
)
from su_models.checkpoints.families.columns import GOOGLE
from su_models.checkpoints.families.layers import rows_of
from su_models.checkpoints.table import Family

_TORCH = dataclasses.replace(
    torch_column("roformer"),
    # the table of sines that it keeps as a weight
    ignored=torch_column("roformer").ignored
    + r"|roformer\.encoder\.embed_positions\.weight",
)
_NAMES = {
    **{key: name for key, name in NAMES.items() if key != "positions"},
    # no checkpoint that is public has it
    "output_mapping": "cls/predictions/embedding_hidden_mapping_out",
}
_TORCH_NAMES = {
    **torch_names("roformer", _NAMES),
    "mapping": "roformer.embeddings_project",
}
_ROWS = rows_of({GOOGLE: _NAMES, _TORCH: _TORCH_NAMES})
_MARKS = ("Embedding-Rotary-Position",)
_LACKS = ("Output-Norm",)

ROFORMER = Family("roformer", (GOOGLE, _TORCH), _ROWS, _MARKS, _LACKS)
# has fewer of the weights, under the same names
ROFORMER_V2 = Family(
    "roformer_v2", (GOOGLE, _TORCH), _ROWS, _MARKS, _LACKS, asked=True
)
