"""The kinds of checkpoints that several families come in."""

from su_models.checkpoints.table import Column

# TensorFlow's optimizers leave these beside the weights
SLOTS = (
    r".*(/adam_[mv]|/Adam(_1)?|/lamb_[mv]|/Momentum|_slot_v[cr]?|_slot_m)$"
    r"|.*ExponentialMovingAverage$|(.*/)?(global_step|beta[12]_power)$"
)

GOOGLE = Column(
    "google", "tf1", "/kernel", "/bias", "/gamma", "/beta", ignored=SLOTS
)
HUGGING_FACE = Column(
    "hugging_face",
    "safetensors",
    ".weight",
    ".bias",
    ".weight",
    ".bias",
    ".weight",
    transposed=True,
    aliases=(
        (r"LayerNorm\.gamma$", "LayerNorm.weight"),  # before 2019
        (r"LayerNorm\.beta$", "LayerNorm.bias"),
    ),
    ignored=r".*\.(position_ids|token_type_ids|inv_freq)$",
)
