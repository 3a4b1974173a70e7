from su_models.checkpoints.families.bert import BERT
from su_models.checkpoints.families.nezha import NEZHA


def test_names_are_those_of_bert_without_positions():
    for ours, berts in zip(NEZHA.columns, BERT.columns, strict=True):
        names = {n.replace("nezha.", "bert.") for n in NEZHA.names(ours, 2)}
        left = BERT.names(berts, 2) - names
        assert names < BERT.names(berts, 2)
        assert len(left) == 1 and "position_embeddings" in left.pop()


def test_names_of_hugging_face():
    names = NEZHA.names(NEZHA.columns[1], 1)
    assert "nezha.encoder.layer.0.attention.self.key.bias" in names
    assert "cls.predictions.transform.LayerNorm.weight" in names
