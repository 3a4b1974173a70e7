"""Configurations of checkpoints, right and wrong."""

import json

import keras
import pytest

from su_models.models import build_transformer_model
from su_models.models.transformer.bert import BERT
from tests.models.transformer.tiny import SIZES


def written(tmp_path, config):
    path = tmp_path / "config.json"
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return path


def test_a_configuration_in_the_words_of_google(tmp_path):
    config = {
        **SIZES,
        "max_position_embeddings": 9,
        "hidden_dropout_prob": 0.3,
        "type_vocab_size": 4,
        "directionality": "bidi",  # not known, and nothing like what is
    }
    del config["max_position"]
    path = written(tmp_path, config)
    model = build_transformer_model(path)
    assert model.get_layer("Embedding-Position").input_dim == 9
    assert model.get_layer("Embedding-Segment").input_dim == 4
    assert model.get_layer("Embedding-Dropout").rate == 0.3
    less = build_transformer_model(str(path), dropout_rate=0.1)
    assert less.get_layer("Embedding-Dropout").rate == 0.1


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{", "JSON file that can be read"),
        ("[1]", "must be a JSON object"),
        ({**SIZES, "max_position_embeddings": 9}, "disagree"),
        ({**SIZES, "hiden_size": 3, "hidden_size": 12}, None),
        ({"hiden_size": 3}, "mean `hidden_size`.*Received: hiden_size=3"),
        ({"hidden_size": 3}, "BERT needs hidden_act"),
        ({**SIZES, "num_attention_heads": 5}, "must divide `hidden_size`"),
        ({**SIZES, "hidden_act": "gelo"}, "mean 'gelu'.*hidden_act='gelo'"),
        ({**SIZES, "vocab_size": "31"}, "`vocab_size`.*vocab_size='31'"),
    ],
)
def test_wrong_configurations(config, words, tmp_path):
    path = written(tmp_path, config)
    if words is None:  # the right key is there: nothing is lost
        build_transformer_model(path)
        return
    with pytest.raises(ValueError, match=words):
        build_transformer_model(path)


class Passing(BERT):
    def build(self, extra_input=None, **kwargs):
        self.extra = extra_input
        super().build(additional_input_layers=extra_input, **kwargs)


def test_build_of_a_subclass_passes_arguments_on():
    condition = keras.Input((3,))
    made = build_transformer_model(
        model=Passing,
        extra_input=condition,
        layer_norm_cond=condition,
        return_keras_model=False,
        **SIZES,
    )
    assert made.extra is condition and len(made.model.inputs) == 3
    with pytest.raises(ValueError, match="T5 takes no argument `layer_norm_c"):
        build_transformer_model(model="t5", layer_norm_cond=condition, **SIZES)
