import keras
import numpy as np
import pytest

from su_models.compat.bert4keras import models
from su_models.compat.bert4keras.layers import (
    Add,
    Dropout,
    Embedding,
    FeedForward,
    Lambda,
    LayerNormalization,
    MultiHeadAttention,
)
from su_models.compat.bert4keras.models import (
    BERT,
    NEZHA,
    RoFormer,
    build_transformer_model,
)
from su_models.models import build_transformer_model as build_ours
from tests.contract import integers, to_numpy

# Keras' `Lambda` has no mask, and says so
pytestmark = pytest.mark.filterwarnings("ignore:Layer .* with a mask attached")

SIZES = {
    "vocab_size": 13,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 9,
    "hidden_act": "gelu",
    "max_position": 16,
}
IDS = integers(12, 2, 7).astype("int32") + 1
IDS[1, 4:] = 0
BOTH = [IDS, np.repeat([[0] * 3 + [1] * 4], 2, 0).astype("int32")]


def randomize(model, seed=0):
    random = np.random.default_rng(seed)
    for w in model.trainable_weights:  # not NEZHA's table of sinusoids
        noise = random.normal(size=w.shape) * 0.2
        w.assign(np.round(to_numpy(w)) + noise)


def outputs(model):
    inputs = BOTH if len(model.inputs) > 1 else IDS
    return keras.tree.flatten(model(inputs))


def assert_equal(model, other):
    for a, b in zip(outputs(model), outputs(other), strict=True):
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), atol=1e-5)


def test_every_name_is_there():
    for name in models.__all__:
        assert hasattr(models, name), name


@pytest.mark.parametrize(
    ("name", "application"),
    [
        ("bert", "unilm"),
        ("albert_unshared", "encoder"),
        ("roformer_v2", "encoder"),
        ("GPT2", "encoder"),
        ("t5.1.1", "encoder"),
    ],
)
def test_models_and_checkpoints_are_ours(tmp_path, name, application):
    kwargs = {**SIZES, "model": name, "application": application}
    theirs = build_transformer_model(return_keras_model=False, **kwargs)
    ours = build_ours(**kwargs)
    assert isinstance(theirs, models.Transformer) and theirs.built
    names = [layer.name for layer in theirs.model.layers]
    assert names == [layer.name for layer in ours.layers]
    randomize(ours)
    theirs.model.set_weights(ours.get_weights())
    assert_equal(theirs.model, ours)
    theirs.save_weights_as_checkpoint(tmp_path / "model.ckpt")
    randomize(theirs.model, 1)
    theirs.load_weights_from_checkpoint(tmp_path / "model.ckpt")
    assert_equal(theirs.model, ours)
    again = build_transformer_model(
        checkpoint_path=tmp_path / "model.ckpt", **kwargs
    )
    assert_equal(again, ours)


def test_names_that_bert4keras_has_not_are_passed_on():
    model = build_transformer_model(model="llama", **SIZES)
    assert model.count_params()
    with pytest.raises(ValueError, match="did you mean 'bert'"):
        build_transformer_model(model="bret", **SIZES)


class Plain(BERT):
    """BERT's blocks written out, as subclasses of bert4keras do."""

    def apply_embeddings(self, inputs):
        x, s = inputs
        z = self.layer_norm_conds[0]
        x = self.apply(
            inputs=x,
            layer=Embedding,
            input_dim=self.vocab_size,
            output_dim=self.embedding_size,
            embeddings_initializer=self.initializer,
            mask_zero=True,
            name="Embedding-Token",
        )
        s = self.apply(
            inputs=s,
            layer=Embedding,
            input_dim=2,
            output_dim=self.embedding_size,
            name="Embedding-Segment",
        )
        x = self.apply([x, s], keras.layers.Add, name="Embedding-Token-Segment")
        x = self.positions(x)
        return self.apply(
            inputs=self.simplify([x, z]),
            layer=LayerNormalization,
            epsilon=1e-12,
            conditional=(z is not None),
            hidden_units=self.layer_norm_conds[1],
            name="Embedding-Norm",
        )

    def position_arguments(self, x):
        return [], {}

    def apply_main_layers(self, inputs, index):
        name = f"Transformer-{index}-MultiHeadSelfAttention"
        mask = self.compute_attention_bias(index)
        more, arguments = self.position_arguments(inputs)
        pairs = [] if mask is None else [mask]
        x = self.apply(
            inputs=[inputs, inputs, inputs, *pairs, *more],
            layer=MultiHeadAttention,
            arguments={"a_bias": True if pairs else None, **arguments},
            heads=self.num_attention_heads,
            head_size=self.attention_head_size,
            out_dim=self.hidden_size,
            key_size=self.attention_key_size,
            use_bias=self.use_bias,
            attention_dropout=self.attention_dropout_rate,
            kernel_initializer=self.initializer,
            name=name,
        )
        x = self.apply(x, Dropout, rate=self.dropout_rate, name=f"{name}-Drop")
        x = self.apply([inputs, x], Add, name=f"{name}-Add")
        x = y = self.apply(
            x, LayerNormalization, epsilon=self.epsilon, name=f"{name}-Norm"
        )
        name = f"Transformer-{index}-FeedForward"
        x = self.apply(
            x,
            FeedForward,
            units=self.intermediate_size,
            activation=self.hidden_act,
            use_bias=self.use_bias,
            name=name,
        )
        x = self.apply([y, x], Add, name=f"{name}-Add")
        return self.apply(
            x, LayerNormalization, epsilon=self.epsilon, name=f"{name}-Norm"
        )


class PlainRoFormer(Plain, RoFormer):
    def apply_embeddings(self, inputs):
        return RoFormer.apply_embeddings(self, inputs)

    def position_arguments(self, x):
        return [self.compute_position_bias(x)], {"p_bias": "rotary"}


class PlainNEZHA(Plain, NEZHA):
    def apply_embeddings(self, inputs):
        return NEZHA.apply_embeddings(self, inputs)

    def position_arguments(self, x):
        return [self.compute_position_bias(x)], {"p_bias": "typical_relative"}


@pytest.mark.parametrize(
    ("cls", "name"),
    [(Plain, "bert"), (PlainRoFormer, "roformer"), (PlainNEZHA, "nezha")],
)
@pytest.mark.parametrize("application", ["encoder", "unilm"])
def test_subclasses_with_bert4keras_methods_equal_the_family(
    tmp_path, cls, name, application
):
    kwargs = {**SIZES, "application": application}
    transformer = build_transformer_model(
        model=name, return_keras_model=False, **kwargs
    )
    randomize(transformer.model)
    transformer.save_weights_as_checkpoint(tmp_path / "model.ckpt")
    written = build_transformer_model(
        checkpoint_path=tmp_path / "model.ckpt", model=cls, **kwargs
    )
    assert_equal(written, transformer.model)
    written.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert_equal(again, written)


class Renamed(BERT):
    """Reads checkpoints with other names, and has an argument of its own."""

    def __init__(self, scale=1.0, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def build(self, **kwargs):
        super().build(**kwargs)

    def apply_final_layers(self, inputs):
        x = super().apply_final_layers(inputs)
        return self.apply(
            x,
            Lambda,
            {"scale": self.scale},
            function=lambda x, scale: x * scale,
            name="Scaled",
        )

    def variable_mapping(self):
        mapping = super().variable_mapping()
        mapping["Embedding-Token"] = ["bert/embeddings/token_type_embeddings"]
        return mapping


def test_a_mapping_of_ones_own(tmp_path):
    sizes = {**SIZES, "vocab_size": 2}
    source = build_transformer_model(return_keras_model=False, **sizes)
    randomize(source.model)
    source.save_weights_as_checkpoint(tmp_path / "model.ckpt")
    made = build_transformer_model(
        checkpoint_path=tmp_path / "model.ckpt",
        model=Renamed,
        scale=3.0,
        return_keras_model=False,
        **sizes,
    )
    table = source.model.get_layer("Embedding-Segment").get_weights()[0]
    tokens = made.model.get_layer("Embedding-Token").get_weights()[0]
    np.testing.assert_array_equal(tokens, table)
    name = "Transformer-1-MultiHeadSelfAttention"
    for a, b in zip(
        source.model.get_layer(name).get_weights(),
        made.model.get_layer(name).get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
    source.model.get_layer("Embedding-Token").set_weights([tokens])
    zeros = [np.zeros((1, 3), "int32"), np.ones((1, 3), "int32")]
    np.testing.assert_allclose(
        to_numpy(made.model(zeros)),
        3 * to_numpy(source.model(zeros)),
        rtol=1e-4,
        atol=1e-5,
    )
    with pytest.raises(NotImplementedError, match="mapping"):
        made.save_weights_as_checkpoint(tmp_path / "x", mapping={})


def test_mapping_and_tokens_of_a_smaller_vocabulary(tmp_path):
    source = build_transformer_model(
        with_mlm=True, with_nsp=True, return_keras_model=False, **SIZES
    )
    randomize(source.model)
    source.save_weights_as_checkpoint(tmp_path / "model.ckpt")
    kwargs = {
        **SIZES,
        "keep_tokens": [3, 0, 7],
        "compound_tokens": [[0, 1]],
        "with_mlm": True,
        "with_nsp": True,
    }
    made = build_transformer_model(return_keras_model=False, **kwargs)
    mapping = made.variable_mapping()
    assert mapping["Embedding-Norm"] == [
        "bert/embeddings/LayerNorm/beta",
        "bert/embeddings/LayerNorm/gamma",
    ]
    found = []
    for given in (None, mapping):
        randomize(made.model, 2)
        made.load_weights_from_checkpoint(tmp_path / "model.ckpt", given)
        found.append(made.model.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    table = source.model.get_layer("Embedding-Token").get_weights()[0]
    rows = made.model.get_layer("Embedding-Token").get_weights()[0]
    np.testing.assert_array_equal(rows[:3], table[[3, 0, 7]])
    np.testing.assert_allclose(rows[3], table[[3, 0]].mean(0), atol=1e-6)


def test_outputs_of_one_of_several_calls():
    model = build_transformer_model(model="albert", **SIZES)
    norm = model.get_layer("Transformer-FeedForward-Norm")
    first, last = norm.get_output_at(0), norm.get_output_at(-1)
    assert first is not last and last is model.output
    halves = keras.Model(model.inputs, [first, last])
    np.testing.assert_allclose(
        to_numpy(halves(BOTH)[1]), to_numpy(model(BOTH)), atol=1e-6
    )
    model.get_config()  # the method is no part of it


def test_a_condition_of_the_normalizations():
    condition = keras.Input((3,))
    model = build_transformer_model(
        layer_norm_cond=condition,
        layer_norm_cond_hidden_size=4,
        layer_norm_cond_hidden_act="swish",
        additional_input_layers=condition,
        application="lm",
        **SIZES,
    )
    assert len(model.inputs) == 3
    y = model([*BOTH, np.ones((2, 3), "float32")])
    assert y.shape == (2, 7, 13)


def test_caches_are_rejected():
    class Cached(BERT):
        def build(self, **kwargs):
            super().build(attention_caches={"a": 1}, **kwargs)

    with pytest.raises(NotImplementedError, match="generate"):
        build_transformer_model(model=Cached, **SIZES)
