"""BERT, and what is called as its layers are: Google's, Hugging Face's."""

from su_models.checkpoints.families.columns import GOOGLE, hugging_face
from su_models.checkpoints.families.layers import rows_of
from su_models.checkpoints.table import Family

_BLOCK = "bert/encoder/layer_{i}"
NAMES = {
    "tokens": "bert/embeddings/word_embeddings",
    "segments": "bert/embeddings/token_type_embeddings",
    "positions": "bert/embeddings/position_embeddings",
    "embedding_norm": "bert/embeddings/LayerNorm",
    "mapping": "bert/encoder/embedding_hidden_mapping_in",
    "query": f"{_BLOCK}/attention/self/query",
    "key": f"{_BLOCK}/attention/self/key",
    "value": f"{_BLOCK}/attention/self/value",
    "attention_output": f"{_BLOCK}/attention/output/dense",
    "attention_norm": f"{_BLOCK}/attention/output/LayerNorm",
    "hidden_0": f"{_BLOCK}/intermediate/dense",
    "hidden_1": f"{_BLOCK}/intermediate/dense_1",  # of a gated network
    "output": f"{_BLOCK}/output/dense",
    "feed_forward_norm": f"{_BLOCK}/output/LayerNorm",
    "pooler": "bert/pooler/dense",
    "nsp_kernel": (
        "cls/seq_relationship/output_weights",
        {"transposed": True},
    ),
    "nsp_bias": "cls/seq_relationship/output_bias",
    "mlm_dense": "cls/predictions/transform/dense",
    "mlm_norm": "cls/predictions/transform/LayerNorm",
    "mlm_bias": "cls/predictions/output_bias",
}


def torch_names(model, google=NAMES):
    """Returns Hugging Face's names, from Google's of a BERT.

    Args:
        model: what they begin with, such as "roformer".
        google: the names that are turned.
    """
    names = {
        key: name.replace("/layer_{i}", ".layer.{i}")
        .replace("bert/", f"{model}/")
        .replace("/", ".")
        for key, name in google.items()
        if isinstance(name, str)
    }
    return {
        **names,
        "nsp_kernel": ("cls.seq_relationship.weight", {"transposed": True}),
        "nsp_bias": "cls.seq_relationship.bias",
        "mlm_bias": "cls.predictions.bias",
    }


def torch_column(model, **changes):
    """Returns Hugging Face's column of a family with BERT's names."""
    parts = r"embeddings|encoder|pooler"
    tied = r"cls\.predictions\.decoder\..*"
    return hugging_face(model, parts, tied, **changes)


_TORCH = torch_column("bert")
BERT = Family(
    "bert",
    (GOOGLE, _TORCH),
    rows_of({GOOGLE: NAMES, _TORCH: torch_names("bert")}),
    lacks=("Embedding-Relative-Position", "Embedding-Rotary-Position"),
)
