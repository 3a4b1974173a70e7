"""BERT, and RoBERTa in BERT's form: Google's names and Hugging Face's."""

import dataclasses

from su_models.checkpoints.families.columns import GOOGLE, HUGGING_FACE
from su_models.checkpoints.table import (
    Family,
    Row,
    Source,
    dense,
    embeddings,
    norm,
)

# `BertModel` has no `bert.` in front, models with a head have
_TORCH = dataclasses.replace(
    HUGGING_FACE,
    aliases=(
        *HUGGING_FACE.aliases,
        (r"^(?=(embeddings|encoder|pooler)\.)", "bert."),
    ),
    ignored=HUGGING_FACE.ignored + r"|cls\.predictions\.decoder\..*",
)


def _both(google):
    """Returns both names of a layer, from Google's."""
    torch = google.replace("/layer_{i}", ".layer.{i}").replace("/", ".")
    return {GOOGLE: google, _TORCH: torch}


def _block():
    """Returns the rows of a block."""
    before = "bert/encoder/layer_{i}"
    attention = "Transformer-{i}-MultiHeadSelfAttention"
    feed_forward = "Transformer-{i}-FeedForward"
    return [
        row
        for rows in (
            *(
                dense(attention, _both(f"{before}/attention/{name}"), path)
                for path, name in (
                    ("query", "self/query"),
                    ("key", "self/key"),
                    ("value", "self/value"),
                    ("attention_output", "output/dense"),
                )
            ),
            norm(
                f"{attention}-Norm",
                _both(f"{before}/attention/output/LayerNorm"),
            ),
            dense(
                feed_forward, _both(f"{before}/intermediate/dense"), "hidden_0"
            ),
            dense(feed_forward, _both(f"{before}/output/dense"), "output"),
            norm(f"{feed_forward}-Norm", _both(f"{before}/output/LayerNorm")),
        )
        for row in rows
    ]


BERT = Family(
    "bert",
    (GOOGLE, _TORCH),
    (
        *embeddings(
            "Embedding-Token",
            _both("bert/embeddings/word_embeddings"),
            vocabulary=True,
        ),
        *embeddings(
            "Embedding-Segment", _both("bert/embeddings/token_type_embeddings")
        ),
        *embeddings(
            "Embedding-Position", _both("bert/embeddings/position_embeddings")
        ),
        *norm("Embedding-Norm", _both("bert/embeddings/LayerNorm")),
        *dense(
            "Embedding-Mapping",
            _both("bert/encoder/embedding_hidden_mapping_in"),
        ),
        *_block(),
        *dense("Pooler-Dense", _both("bert/pooler/dense")),
        Row(
            "NSP-Proba",
            "kernel",
            {
                "google": Source(
                    "cls/seq_relationship/output_weights", transposed=True
                ),
                "hugging_face": Source(
                    "cls.seq_relationship.weight", transposed=True
                ),
            },
        ),
        Row(
            "NSP-Proba",
            "bias",
            {
                "google": Source("cls/seq_relationship/output_bias"),
                "hugging_face": Source("cls.seq_relationship.bias"),
            },
        ),
        *dense("MLM-Dense", _both("cls/predictions/transform/dense")),
        *norm("MLM-Norm", _both("cls/predictions/transform/LayerNorm")),
        Row(
            "MLM-Bias",
            "beta",
            {
                "google": Source("cls/predictions/output_bias"),
                "hugging_face": Source("cls.predictions.bias"),
            },
            vocabulary=True,
        ),
    ),
)
