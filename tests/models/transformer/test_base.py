"""Layers by name, as bert4keras' scripts count on them.

Article: https://kexue.fm/archives/4765
"""

import keras
import pytest

from su_models.models import build_transformer_model
from su_models.models.transformer.base import Transformer
from su_models.models.transformer.bert import BERT
from tests.models.transformer.tiny import SIZES, tiny


def test_a_layer_is_made_once_and_found_by_its_name():
    builder = BERT(**SIZES)
    x = keras.Input((3,))
    dense = {"layer": keras.layers.Dense, "units": 4, "name": "Mine"}
    first = builder.apply(inputs=x, **dense)
    second = builder.apply(inputs=x, **dense)
    assert builder.apply(name="Mine") is builder.layers["Mine"]
    assert first is not second and len(builder.layers) == 1


def test_a_dropout_of_rate_0_is_no_layer():
    x = keras.Input((3,))
    builder = BERT(**SIZES)
    dropout = keras.layers.Dropout
    assert builder.apply(x, dropout, rate=0.0, name="None") is x
    assert not builder.layers


def test_building_twice_changes_nothing():
    builder = tiny("bert", return_keras_model=False)
    model = builder.model
    builder.build()
    assert builder.model is model


@pytest.mark.parametrize("method", ["get_inputs", "apply_embeddings"])
def test_a_family_has_to_say_how_it_begins(method):
    arguments = [] if method == "get_inputs" else [None]
    with pytest.raises(NotImplementedError, match=method):
        getattr(Transformer(**NO_POSITIONS), method)(*arguments)


NO_POSITIONS = {k: v for k, v in SIZES.items() if k != "max_position"}


def test_layers_can_be_shared_between_models():
    first = tiny("bert", return_keras_model=False)
    second = build_transformer_model(
        model="bert", layers=first.layers, with_mlm=True, **SIZES
    )
    token = second.get_layer("Embedding-Token")
    assert token is first.model.get_layer("Embedding-Token")


def test_a_prefix_stands_before_every_name():
    model = tiny("bert", prefix="A-")
    assert all(layer.name.startswith("A-") for layer in model.layers)


def test_a_family_can_be_subclassed():
    class Doubled(BERT):
        def apply_final_layers(self, inputs):
            x = self.apply(
                inputs=inputs,
                layer=keras.layers.Dense,
                units=4,
                kernel_initializer=self.initializer,
                name="Output-Dense",
            )
            return self.apply(
                inputs=[x, x], layer=keras.layers.Concatenate, name="Output"
            )

    model = build_transformer_model(model=Doubled, **SIZES)
    assert model.output_shape == (None, None, 8)
    assert issubclass(Doubled, Transformer)
