"""All families, by name."""

from su_models.checkpoints.families.albert import ALBERT, ALBERT_UNSHARED
from su_models.checkpoints.families.bert import BERT
from su_models.checkpoints.families.electra import ELECTRA
from su_models.checkpoints.families.gau_alpha import GAU_ALPHA
from su_models.checkpoints.families.gpt import GPT
from su_models.checkpoints.families.gpt2 import GPT2
from su_models.checkpoints.families.gpt2_ml import GPT2_ML
from su_models.checkpoints.families.llama import LLAMA
from su_models.checkpoints.families.nezha import NEZHA
from su_models.checkpoints.families.roberta import ROBERTA
from su_models.checkpoints.families.roformer import ROFORMER, ROFORMER_V2
from su_models.checkpoints.families.t5 import MT5_1_1, T5, T5_1_1

# of those that fit a model equally well, the first is taken
FAMILIES = {
    family.name: family
    for family in (
        BERT,
        ROBERTA,
        ALBERT,
        ALBERT_UNSHARED,
        NEZHA,
        ROFORMER,
        ROFORMER_V2,
        GAU_ALPHA,
        ELECTRA,
        GPT,
        GPT2,
        GPT2_ML,
        T5,
        T5_1_1,
        MT5_1_1,
        LLAMA,
    )
}
