"""NEZHA: the names of BERT; its positions are no weights."""

from su_models.checkpoints.families.bert import (
    NAMES,
    torch_column,
    torch_names,
)
from su_models.checkpoints.families.columns import GOOGLE
from su_models.checkpoints.families.layers import rows_of
from su_models.checkpoints.table import Family

_TORCH = torch_column("nezha")
_NAMES = {key: name for key, name in NAMES.items() if key != "positions"}

NEZHA = Family(
    "nezha",
    (GOOGLE, _TORCH),
    rows_of({GOOGLE: _NAMES, _TORCH: torch_names("nezha", _NAMES)}),
    marks=("Embedding-Relative-Position",),
    fixed=("Embedding-Relative-Position/embeddings",),  # sines
)
