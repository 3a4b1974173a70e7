"""The kinds of checkpoints that several families come in."""

import dataclasses

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


def hugging_face(model, parts, ignored=None, **changes):
    """Returns Hugging Face's column of a family.

    Args:
        model: what names in models with a head begin with, such as "bert".
        parts: regular expression of what follows it, with which names in
            models without a head begin.
        ignored: optional regular expression of more names without weights,
            such as those of tied weights.
        **changes: other fields of the `Column`.
    """
    without = (rf"^(?=({parts})\.)", f"{model}.")
    return dataclasses.replace(
        HUGGING_FACE,
        aliases=(*HUGGING_FACE.aliases, without),
        ignored=HUGGING_FACE.ignored + (f"|{ignored}" if ignored else ""),
        **changes,
    )
