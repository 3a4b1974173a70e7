"""GAU-α: names of its authors, and those of its port to PyTorch."""

from su_models.checkpoints.families.columns import GOOGLE, hugging_face
from su_models.checkpoints.families.layers import rows_of
from su_models.checkpoints.table import Family

_BLOCK = "GAU_alpha/encoder/layer_{i}/gau"
_TORCH = hugging_face("gau_alpha", r"embeddings|encoder")
_TORCH_BLOCK = "gau_alpha.encoder.layer.{i}.gau"
_NAMES = {
    "tokens": "GAU_alpha/embeddings/word_embeddings",
    "segments": "GAU_alpha/embeddings/token_type_embeddings",
    "mapping": "GAU_alpha/encoder/embedding_hidden_mapping_in",
    "gau_inputs": f"{_BLOCK}/i_dense",
    "gau_output": f"{_BLOCK}/o_dense",
    "query_scale": f"{_BLOCK}/q_scaleoffset/gamma",
    "key_scale": f"{_BLOCK}/k_scaleoffset/gamma",
    "output_mapping": "GAU_alpha/output/embedding_hidden_mapping_out",
}
_TORCH_NAMES = {
    "tokens": "gau_alpha.embeddings.word_embeddings",
    "segments": "gau_alpha.embeddings.token_type_embeddings",
    "mapping": "gau_alpha.encoder.embedding_hidden_mapping_in",
    "gau_inputs": f"{_TORCH_BLOCK}.i_dense",
    "gau_output": f"{_TORCH_BLOCK}.o_dense",
    "query_scale": f"{_TORCH_BLOCK}.q_scaleoffset.weight",
    "key_scale": f"{_TORCH_BLOCK}.k_scaleoffset.weight",
    "output_mapping": "gau_alpha.output.embedding_hidden_mapping_out",
}

GAU_ALPHA = Family(
    "gau_alpha",
    (GOOGLE, _TORCH),
    rows_of({GOOGLE: _NAMES, _TORCH: _TORCH_NAMES}, bias=False),
    marks=("Transformer-0-GatedAttentionUnit",),
)
