import json

import keras
import numpy as np
import pytest

from su_models.layers import Embedding
from su_models.tasks.vocabulary_embedding import VocabularyEmbedding
from tests.contract import to_numpy

TOKENS = ["[PAD]", "天", "地", "a"]
IDS = np.array([[1, 3, 0], [2, 0, 0]])


def model():
    ids = keras.Input((None,), dtype="int32")
    layer = VocabularyEmbedding(TOKENS, 5, mask_zero=True, name="tokens")
    return keras.Model(ids, layer(layer(ids), reverse=True))


def test_the_tokens_are_saved_with_the_weights(tmp_path):
    built = model()
    built.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.get_layer("tokens").tokens == TOKENS
    np.testing.assert_array_equal(to_numpy(again(IDS)), to_numpy(built(IDS)))


def test_it_is_an_embedding_of_that_many_rows():
    layer = VocabularyEmbedding(iter(TOKENS), 5, mask_zero=True)
    plain = Embedding(4, 5, mask_zero=True)
    for each in (layer, plain):
        each(IDS)
    layer.set_weights(plain.get_weights())
    np.testing.assert_array_equal(to_numpy(layer(IDS)), to_numpy(plain(IDS)))
    np.testing.assert_array_equal(
        to_numpy(layer.compute_mask(IDS)), to_numpy(plain.compute_mask(IDS))
    )


def test_the_config_is_json_and_comes_back():
    layer = VocabularyEmbedding(TOKENS, 5, mask_zero=True)
    config = json.loads(json.dumps(layer.get_config()))
    again = VocabularyEmbedding.from_config(config)
    assert (again.tokens, again.input_dim, again.mask_zero) == (TOKENS, 4, True)


@pytest.mark.parametrize("tokens", [[], ["a", "a"], ["a", 3]])
def test_bad_tokens_are_rejected(tokens):
    with pytest.raises(ValueError, match="Received: tokens="):
        VocabularyEmbedding(tokens, 5)
