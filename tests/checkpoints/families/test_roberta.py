import numpy as np

from su_models.checkpoints.families.bert import BERT
from su_models.checkpoints.families.roberta import ROBERTA

GOOGLE, TORCH, AS_BERT = ROBERTA.columns


def test_names_of_hugging_face():
    names = ROBERTA.names(TORCH, 2)
    for name in (
        "roberta.embeddings.word_embeddings.weight",
        "roberta.encoder.layer.1.attention.output.LayerNorm.bias",
        "roberta.pooler.dense.weight",
        "lm_head.dense.weight",
        "lm_head.layer_norm.weight",
        "lm_head.bias",
    ):
        assert name in names


def test_it_comes_under_the_names_of_bert_too():
    for ours, berts in zip((GOOGLE, AS_BERT), BERT.columns, strict=True):
        assert ROBERTA.names(ours, 2) == BERT.names(berts, 2)


def test_the_first_position_is_row_2():
    row, _ = ROBERTA.find("Embedding-Position", "embeddings")
    stored = np.arange(10).reshape(5, 2)
    source = row.sources[TORCH.name]
    read = source.read(stored, (3, 2), "embeddings")
    np.testing.assert_array_equal(read, stored[2:])
    assert row.sources[GOOGLE.name].skipped == 0
