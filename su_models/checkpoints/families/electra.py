"""ELECTRA's discriminator: the names of BERT, and its own head."""

from su_models.checkpoints.families.bert import NAMES, torch_names
from su_models.checkpoints.families.columns import GOOGLE, hugging_face
from su_models.checkpoints.families.layers import rows_of
from su_models.checkpoints.table import Family

_TORCH = hugging_face(
    "electra",
    r"embeddings|embeddings_project|encoder",
    r"generator_(predictions|lm_head)\..*",
)
_WITHOUT = ("hidden_1", "pooler", "nsp", "mlm")
_ENCODER = {
    key: name for key, name in NAMES.items() if not key.startswith(_WITHOUT)
}
_NAMES = {
    **{k: n.replace("bert/", "electra/") for k, n in _ENCODER.items()},
    "mapping": "electra/embeddings_project",
    "discriminator": "discriminator_predictions/dense",
    "replaced": "discriminator_predictions/dense_1",
}
_TORCH_NAMES = {
    key: name
    for key, name in torch_names("electra", _ENCODER).items()
    if not key.startswith(_WITHOUT)
} | {
    "mapping": "electra.embeddings_project",
    "discriminator": "discriminator_predictions.dense",
    "replaced": "discriminator_predictions.dense_prediction",
}

ELECTRA = Family(
    "electra",
    (GOOGLE, _TORCH),
    rows_of({GOOGLE: _NAMES, _TORCH: _TORCH_NAMES}),
    marks=("Discriminator-Dense",),
)
