"""GPT: the names of bert4keras and of Hugging Face."""

from su_models.checkpoints.families.bert import NAMES
from su_models.checkpoints.families.columns import GOOGLE, hugging_face
from su_models.checkpoints.families.layers import rows_of
from su_models.checkpoints.table import Family

GPT_NAMES = {
    **{
        key: name.replace("bert/", "gpt/").replace("encoder", "transformer")
        for key, name in NAMES.items()
        if not key.startswith(("pooler", "nsp", "mlm"))
    },
    # no checkpoint that is public has it
    "output_mapping": "gpt/output/embedding_hidden_mapping_out",
}


def torch_names(tokens, positions):
    """Returns the names of OpenAI's models at Hugging Face.

    Queries, keys and values are the parts of one tensor.
    """
    block = "transformer.h.{i}"
    parts = ("query", "key", "value")
    return {
        "tokens": f"transformer.{tokens}",
        "positions": f"transformer.{positions}",
        "segments": "transformer.segments_embed",
        "mapping": "transformer.embedding_hidden_mapping_in",
        **{
            part: (f"{block}.attn.c_attn", {"part": (k, len(parts))})
            for k, part in enumerate(parts)
        },
        "attention_output": f"{block}.attn.c_proj",
        "attention_norm": f"{block}.ln_1",
        "hidden_0": f"{block}.mlp.c_fc",
        "hidden_1": f"{block}.mlp.c_gate",
        "output": f"{block}.mlp.c_proj",
        "feed_forward_norm": f"{block}.ln_2",
        "output_mapping": "embedding_hidden_mapping_out",
    }


def torch_column(parts):
    """Returns Hugging Face's column of OpenAI's models."""
    return hugging_face(
        "transformer",
        parts,
        r".*\.attn\.(masked_)?bias|lm_head\.weight",
        transposed=False,
    )


_TORCH = torch_column(r"tokens_embed|positions_embed|h")

GPT = Family(
    "gpt",
    (GOOGLE, _TORCH),
    rows_of(
        {
            GOOGLE: GPT_NAMES,
            _TORCH: torch_names("tokens_embed", "positions_embed"),
        }
    ),
    lacks=("Embedding-Norm", "Output-Norm", "Embedding-Rotary-Position"),
)
