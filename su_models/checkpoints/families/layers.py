"""What the weights of our layers are called in the tables of names."""

from su_models.checkpoints.table import dense, embeddings, norm, tensor


def _attention(layer, prefix=""):
    """Returns the keys of an attention layer and of its normalization."""
    return {
        f"{prefix}query": (layer, "query", "dense"),
        f"{prefix}key": (layer, "key", "dense"),
        f"{prefix}value": (layer, "value", "dense"),
        f"{prefix}attention_output": (layer, "attention_output", "dense"),
        f"{prefix}attention_norm": (f"{layer}-Norm", "", "norm"),
    }


def _feed_forward(layer, prefix=""):
    """Returns the keys of a feed-forward network and its normalization."""
    return {
        f"{prefix}hidden_0": (layer, "hidden_0", "dense"),
        f"{prefix}hidden_1": (layer, "hidden_1", "dense"),
        f"{prefix}output": (layer, "output", "dense"),
        f"{prefix}feed_forward_norm": (f"{layer}-Norm", "", "norm"),
        f"{prefix}norm_0": (f"{layer}-Norm-0", "", "norm"),
        f"{prefix}norm_1": (f"{layer}-Norm-1", "", "norm"),
    }


def _side(side):
    """Returns the keys of one side of T5."""
    key, block = f"{side.lower()}_", f"{side}-Transformer-{{i}}"
    return {
        f"{key}mapping": (f"{side}-Embedding-Mapping", "", "dense"),
        f"{key}positions": (
            f"{side}-Embedding-Relative-Position",
            "embeddings",
            "tensor",
        ),
        **_attention(f"{block}-MultiHeadSelfAttention", key),
        **_attention(f"{block}-MultiHeadCrossAttention", f"{key}cross_"),
        **_feed_forward(f"{block}-FeedForward", key),
        f"{key}output_norm": (f"{side}-Output-Norm", "", "norm"),
        f"{key}output_mapping": (f"{side}-Output-Mapping", "", "dense"),
        f"{key}lm": (f"{side}-Output-LM", "", "dense"),
    }


_GAU = "Transformer-{i}-GatedAttentionUnit"

# layer, place in it, and which of the weights of a layer
LAYERS = {
    "tokens": ("Embedding-Token", "", "embeddings"),
    "segments": ("Embedding-Segment", "", "embeddings"),
    "positions": ("Embedding-Position", "", "embeddings"),
    "embedding_norm": ("Embedding-Norm", "", "norm"),
    "mapping": ("Embedding-Mapping", "", "dense"),
    **_attention("Transformer-{i}-MultiHeadSelfAttention"),
    **_feed_forward("Transformer-{i}-FeedForward"),
    "gau_inputs": (_GAU, "uvz", "dense"),
    "gau_output": (_GAU, "output", "dense"),
    "query_scale": (_GAU, "query_scale", "tensor"),
    "key_scale": (_GAU, "key_scale", "tensor"),
    "pooler": ("Pooler-Dense", "", "dense"),
    "nsp_kernel": ("NSP-Proba", "kernel", "tensor"),
    "nsp_bias": ("NSP-Proba", "bias", "tensor"),
    "mlm_dense": ("MLM-Dense", "", "dense"),
    "mlm_norm": ("MLM-Norm", "", "norm"),
    "mlm_bias": ("MLM-Bias", "beta", "tensor"),
    "discriminator": ("Discriminator-Dense", "", "dense"),
    "replaced": ("Discriminator-Prediction", "", "dense"),
    "output_norm": ("Output-Norm", "", "norm"),
    "output_mapping": ("Output-Mapping", "", "dense"),
    "lm": ("LM-Dense", "", "dense"),
    **_side("Encoder"),
    **_side("Decoder"),
}
# keys of weights with an axis that is the vocabulary
VOCABULARY = {"tokens": 0, "mlm_bias": 0, "lm": 1, "decoder_lm": 1}


def rows_of(columns, bias=True, offset=True, block="Transformer-{i}"):
    """Returns the rows of a table.

    Args:
        columns: dict from `Column` to what it calls the layers: a dict from
            keys of `LAYERS` to names, or to pairs of a name and of what
            `Source` takes beside. A name is what the names of the layer's
            weights begin with; of a "tensor", all of it.
        bias: bool. Whether dense layers have a bias.
        offset: bool. Whether normalizations have a β.
        block: what the names of our blocks begin with.
    """
    rows = []
    for key, (layer, path, kind) in LAYERS.items():
        names = {c: names[key] for c, names in columns.items() if key in names}
        if not names:
            continue
        layer = layer.replace("Transformer-{i}", block)
        axis = VOCABULARY.get(key)
        if kind == "dense":
            # T5's are the only dense layers of it that have one
            also = bias or key.endswith("mapping")
            made = dense(layer, names, path, also, axis)
        elif kind == "norm":
            made = norm(
                layer, names, ("beta", "gamma") if offset else ("gamma",)
            )
        elif kind == "embeddings":
            made = embeddings(layer, names, axis)
        else:
            made = tensor(layer, names, path, axis)
        rows += made
    return tuple(rows)
