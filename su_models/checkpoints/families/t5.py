"""T5 and mT5: Google's names and Hugging Face's, of both sides."""

import dataclasses

from su_models.checkpoints.families.columns import SLOTS, hugging_face
from su_models.checkpoints.families.layers import rows_of
from su_models.checkpoints.table import Column, Family

# the names of attention's kernels end with q, k, v, o
_GOOGLE = Column("google", "tf1", "", "/bias", "/scale", "", ignored=SLOTS)
_TORCH = dataclasses.replace(
    hugging_face("", r"(?!)"),
    aliases=(),
    ignored=r"(encoder|decoder)\.embed_tokens\.weight|.*EncDecAttention"
    r"\.relative_attention_bias\.weight",
)


def _side(side, gated, norm):
    """Returns Google's names of a side's layers, by keys of `LAYERS`."""
    block = f"{side}/block_{{i:03d}}/layer_"
    last = "001" if side == "encoder" else "002"
    dense = f"{block}{last}/DenseReluDense"
    names = {
        "mapping": f"{side}/embedding_mapping",
        "positions": (
            f"{side}/block_000/layer_000/SelfAttention/relative_attention_bias",
            {"transposed": True},
        ),
        "attention_norm": f"{block}000/{norm}",
        "feed_forward_norm": f"{block}{last}/{norm}",
        "hidden_0": f"{dense}/{'wi_0' if gated else 'wi'}/kernel",
        "output": f"{dense}/wo/kernel",
        "output_norm": f"{side}/"
        + (norm if norm == "rms_norm" else f"final_{norm}"),
        "output_mapping": f"{side}/output_mapping",
    }
    attentions = {"": f"{block}000/SelfAttention"}
    if side == "decoder":
        attentions["cross_"] = f"{block}001/EncDecAttention"
        names["cross_attention_norm"] = f"{block}001/{norm}"
    for key, attention in attentions.items():
        for ours, letter in (
            ("query", "q"),
            ("key", "k"),
            ("value", "v"),
            ("attention_output", "o"),
        ):
            names[f"{key}{ours}"] = f"{attention}/{letter}"
    if gated:
        names["hidden_1"] = f"{dense}/wi_1/kernel"
        if side == "decoder":
            names["lm"] = "decoder/logits/kernel"
    return {f"{side}_{key}": name for key, name in names.items()}


def _torch(name):
    """Returns Hugging Face's name, from Google's with `layer_norm`."""
    if isinstance(name, tuple):
        return (
            name[0]
            .replace("block_000/layer_000", "block.0.layer.0")
            .replace("/", ".")
            + ".weight"
        )
    for google, torch in (
        ("block_{i:03d}", "block.{i}"),
        ("layer_00", "layer."),
        ("/kernel", ""),
        ("decoder/logits", "lm_head"),
        ("/", "."),
    ):
        name = name.replace(google, torch)
    return name


def _family(name, gated, norm="layer_norm", **options):
    """Returns the family of one version."""
    google, torch = {"tokens": "shared/embedding"}, {"tokens": "shared"}
    for side in ("encoder", "decoder"):
        google |= _side(side, gated, norm)
        for key, names in _side(side, gated, "layer_norm").items():
            torch[key] = _torch(names)
    tied = "" if gated else r"|lm_head\.weight"
    column = dataclasses.replace(_TORCH, ignored=_TORCH.ignored + tied)
    rows = rows_of({_GOOGLE: google, column: torch}, bias=False, offset=False)
    return Family(name, (_GOOGLE, column), rows, **options)


T5 = _family("t5.1.0", gated=False)
T5_1_1 = _family("t5.1.1", gated=True)
# a model is like one of T5 1.1; at Hugging Face the names are, too
MT5_1_1 = _family("mt5.1.1", gated=True, norm="rms_norm", asked=True)
