import pytest

from su_models.checkpoints.families.bert import BERT
from su_models.checkpoints.plan import FAMILIES, find_families, find_places
from tests.checkpoints.small import small_bert


def test_families_by_name():
    assert find_families(None) == list(FAMILIES.values())
    assert find_families("bert") == find_families(BERT) == [BERT]
    with pytest.raises(ValueError, match="`family` .*Received: family='bart'"):
        find_families("bart")


def test_every_family_has_names_of_its_own():
    for name, family in FAMILIES.items():
        assert family.name == name
        columns = [column.name for column in family.columns]
        assert len(set(columns)) == len(columns)
        keys = [(row.layer, row.path) for row in family.rows]
        assert len(set(keys)) == len(keys)
        for row in family.rows:
            assert {*row.sources} <= {*columns}


def test_weights_have_their_places():
    model = small_bert(2)
    for column in BERT.columns:
        places, others = find_places(model, BERT, column)
        assert others == [] and len(places) == len(model.weights)
        names = {place.source.name for place in places}
        assert len(names) == len(places) and names <= BERT.names(column, 2)
    by_name = {p.source.name: p for p in find_places(model, BERT, column)[0]}
    place = by_name["bert.encoder.layer.1.attention.self.key.weight"]
    assert place.path == "key/kernel" and place.source.transposed
    assert by_name["bert.embeddings.word_embeddings.weight"].vocabulary == 0
    assert by_name["cls.predictions.bias"].vocabulary == 0
    assert place.vocabulary is None
    assert place.layer == "Transformer-1-MultiHeadSelfAttention"


def test_weights_without_a_place_are_named():
    import keras

    model = small_bert(1, heads=False, prefix="my-")
    task = keras.layers.Dense(3, name="Task")(model.output)
    model = keras.Model(model.inputs, task)
    places, others = find_places(model, BERT, BERT.columns[0], "my-")
    assert others == ["Task/kernel", "Task/bias"]
    assert len(places) == len(model.weights) - 2
    assert find_places(model, BERT, BERT.columns[0])[0] == []
