"""What every transformer promises, whatever its family.

Article: https://kexue.fm/archives/6915
"""

import keras
import numpy as np
import pytest

from su_models.checkpoints import save_checkpoint
from su_models.checkpoints.resize import resize
from su_models.models import build_transformer_model
from su_models.models.transformer.roformer import RoFormer
from tests.models.transformer.tiny import (
    NAMES,
    PAIRS,
    SIDES,
    SIZES,
    ids,
    run,
    tiny,
)

CAUSAL = ["gpt", "gpt2", "gpt2_ml", "llama"]
ENCODERS = [name for name in NAMES if name not in CAUSAL]
MASKABLE = [name for name in ENCODERS if name != "electra"]


@pytest.mark.parametrize("name", NAMES)
def test_padding_does_not_change_real_tokens(name):
    model = tiny(name)
    x = ids()
    padded = np.concatenate([x, np.zeros((2, 4), "int32")], axis=1)
    np.testing.assert_allclose(
        run(model, padded)[:, :7], run(model, x), atol=2e-6
    )


@pytest.mark.parametrize("name", ENCODERS)
def test_the_first_id_is_no_padding_even_if_it_is_0(name):
    model = tiny(name)
    x = ids()
    x[0, 0] = 0
    segments = np.zeros_like(x)
    segments[:, 0] = 1  # another token at the place of id 0
    moved = run(model, x, segments) - run(model, x)
    assert np.abs(moved[0, 1:]).max() > 1e-3


@pytest.mark.parametrize("name", PAIRS)
def test_padding_of_either_side_does_not_change_real_tokens(name):
    model = tiny(name)
    x, y = ids(), ids(length=5)
    y[:, 0] = 0
    zeros = np.zeros((2, 3), "int32")
    plain = keras.ops.convert_to_numpy(model([x, y]))
    padded = [np.concatenate([t, zeros], axis=1) for t in (x, y)]
    result = keras.ops.convert_to_numpy(model(padded))
    np.testing.assert_allclose(result[:, :5], plain, atol=2e-6)


@pytest.mark.parametrize("name", SIDES)
def test_padding_of_one_side_does_not_change_real_tokens(name):
    model = tiny(name)
    inputs = [ids()]
    if name.endswith("_decoder"):
        states = np.random.default_rng(2).normal(size=(2, 7, 12))
        inputs.insert(0, states.astype("float32"))
    padded = [
        np.concatenate([x, np.zeros_like(x[:, :3])], axis=1) for x in inputs
    ]
    plain, result = (
        keras.ops.convert_to_numpy(model(x if len(x) > 1 else x[0]))
        for x in (inputs, padded)
    )
    np.testing.assert_allclose(result[:, :7], plain, atol=2e-6)


@pytest.mark.parametrize("name", [*CAUSAL, *MASKABLE])
def test_lm_sees_nothing_of_what_comes_later(name):
    application = "encoder" if name in CAUSAL else "lm"
    model = tiny(name, application=application)
    x = ids()
    y = x.copy()
    y[:, 4:] = y[:, 4:] % 30 + 1
    before, after = run(model, x), run(model, y)
    np.testing.assert_allclose(before[:, :4], after[:, :4], atol=2e-6)
    assert np.abs(before[:, 4:] - after[:, 4:]).max() > 1e-3


@pytest.mark.parametrize("name", ["gpt", *MASKABLE])
def test_unilm_sees_the_prefix_whole_and_the_rest_causally(name):
    model = tiny(name, application="unilm")
    x = ids()
    segments = np.array([[0, 0, 0, 1, 1, 1, 1]] * 2, "int32")
    base = run(model, x, segments)

    def changed(place):
        y = x.copy()
        y[:, place] = y[:, place] % 30 + 1
        moved = np.abs(run(model, y, segments) - base).max(axis=(0, 2))
        return [i for i in range(7) if moved[i] > 1e-4]

    assert changed(2) == [0, 1, 2, 3, 4, 5, 6]
    assert changed(5) == [5, 6]


@pytest.mark.parametrize("name", ["bert", "roformer", "roformer_v2"])
def test_unilm_without_targets_is_the_encoder(name):
    encoder = tiny(name, with_mlm="linear")
    unilm = tiny(name, application="unilm", with_mlm="linear")
    x = ids()
    np.testing.assert_allclose(run(unilm, x), run(encoder, x), atol=2e-6)


@pytest.mark.parametrize("name", ["roformer_v2", "albert", "gpt2", "t5"])
def test_saved_and_restored(name, tmp_path):
    model = tiny(name, **({} if name in PAIRS else {"application": "encoder"}))
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    if name in PAIRS:
        inputs = [ids(), ids(length=5)]
        a, b = (keras.ops.convert_to_numpy(m(inputs)) for m in (model, again))
    else:
        a, b = run(model, ids()), run(again, ids())
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["bert", "roformer_v2", "t5_encoder"])
def test_a_mask_reaches_every_layer(name):
    """From the ids to the last hidden states: none loses it on the way."""
    builder = tiny(name, return_keras_model=False)
    x = ids()
    x[:, 5:] = 0
    inputs = [x, x * 0][: len(builder.inputs)]
    hidden = [
        layer.output
        for layer in builder.model.layers
        if len(layer.output.shape) == 3
        and layer.output.dtype == keras.config.floatx()
        and "Position" not in layer.name
        and layer.name != "Embedding-Segment"  # segments have no padding
    ]
    assert len(hidden) > 10
    marks = [_Mark()(tensor) for tensor in hidden]
    for mark in keras.Model(builder.inputs, marks)(inputs):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(mark), [[1, 1, 1, 1, 1, 0, 0]] * 2
        )


class _Mark(keras.layers.Layer):
    """Returns the mask that arrives, or twos if there is none."""

    def call(self, inputs, mask=None):
        if mask is None:
            return keras.ops.full_like(inputs[..., 0], 2.0)
        return keras.ops.cast(mask, inputs.dtype)

    def compute_mask(self, inputs, mask=None):
        return None

    def compute_output_shape(self, input_shape):
        return input_shape[:-1]


def test_heads_come_in_the_order_of_bert4keras():
    model = tiny("bert", with_nsp=True, with_mlm="linear")
    assert [tuple(x.shape[1:]) for x in model.outputs] == [(2,), (None, 31)]
    assert tiny("bert", with_pool=True).output_shape == (None, 12)
    assert tiny("electra", with_discriminator=True).output_shape[-1] == 1


def test_t5_gives_its_encoder_and_decoder():
    t5 = tiny("t5", return_keras_model=False)
    x, y = ids(), ids(length=5)
    context = keras.ops.convert_to_numpy(t5.encoder(x))
    apart = t5.decoder([context, y])
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(apart),
        keras.ops.convert_to_numpy(t5.model([x, y])),
        atol=1e-6,
    )
    assert t5.encoder.get_layer("Embedding-Token") is t5.model.get_layer(
        "Embedding-Token"
    )


def test_albert_has_one_block():
    few, many = (tiny("albert", num_hidden_layers=n) for n in (1, 3))
    assert few.count_params() == many.count_params()
    assert tiny("albert_unshared").count_params() > many.count_params()


def test_roformer_v2_counts_its_weights_as_the_article_does():
    two, three = (tiny("roformer_v2", num_hidden_layers=n) for n in (2, 3))
    h, i = SIZES["hidden_size"], SIZES["intermediate_size"]
    assert three.count_params() - two.count_params() == 4 * h * h + 2 * h * i


def test_a_condition_changes_nothing_at_first():
    condition = keras.Input((5,))
    model = build_transformer_model(
        model="bert",
        layer_norm_cond=condition,
        additional_input_layers=condition,
        **SIZES,
    )
    x = ids()
    zero, one = (
        keras.ops.convert_to_numpy(model([x, x * 0, np.full((2, 5), c)]))
        for c in (0.0, 1.0)
    )
    np.testing.assert_array_equal(zero, one)


def test_fewer_and_compound_tokens():
    model = tiny(
        "bert",
        keep_tokens=[0, 5, 7],
        compound_tokens=[[1, 2], ([0, 1], [1, 3])],
    )
    assert model.get_layer("Embedding-Token").input_dim == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": "roformr"}, "mean 'roformer'.*model='roformr'"),
        ({"model": 3}, "Received: model=3"),
        ({"application": "seq2seq"}, "`application` must be one of"),
        (
            {"model": "t5", "application": "lm"},
            "T5 cannot become",
        ),
        ({"model": "electra", "application": "unilm"}, "ELECTRA cannot"),
        ({"model": "gpt2", "application": "unilm"}, "needs segment ids"),
        ({"model": "electra", "with_mlm": True}, "takes no .*with_mlm"),
        ({"model": "gpt", "with_pool": True}, "takes no .*with_pool"),
        ({"model": "roformer_v2", "with_nsp": True}, "takes no .*with_nsp"),
        ({"with_mml": True}, "mean `with_mlm`.*with_mml=True"),
        ({"return_keras_model": 1}, "return_keras_model=1"),
        ({"keep_tokens": [0, 31]}, "ids from 0 to 30"),
        ({"compound_tokens": [[-1]]}, "ids from 0 to 30"),
        ({"dropout_rate": 1.5}, "`dropout_rate`"),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(ValueError, match=words):
        build_transformer_model(**{**SIZES, **arguments})


@pytest.mark.parametrize("wrong", [31, -1])
def test_ids_outside_the_vocabulary_are_rejected(wrong):
    x = ids()
    x[0, 2] = wrong
    with pytest.raises(ValueError, match="Received"):
        run(tiny("bert"), x)


def test_a_sequence_over_the_positions_is_rejected():
    with pytest.raises(ValueError, match="16 positions"):
        run(tiny("bert"), ids(length=17))


def saved(name, path, **kwargs):
    """A checkpoint of a tiny model, and the model."""
    model = tiny(name, **kwargs)
    save_checkpoint(model, path)
    return model


@pytest.mark.parametrize("ending", ["ckpt", "safetensors"])
@pytest.mark.parametrize("name", ["bert", "albert", "gpt2", "t5", "llama"])
def test_a_checkpoint_is_loaded(name, ending, tmp_path):
    path = tmp_path / f"a.{ending}"
    model = saved(name, path)
    again = build_transformer_model(
        checkpoint_path=path, model=name, prefix="my-", **SIZES
    )
    for ours, theirs in zip(
        again.get_weights(), model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_language_model_and_a_class_load_too(tmp_path):
    model = saved("roformer", tmp_path / "a", with_mlm=True)
    for cls, application in (("RoFormer", "unilm"), (RoFormer, "lm")):
        again = build_transformer_model(
            checkpoint_path=tmp_path / "a",
            model=cls,
            application=application,
            **SIZES,
        )
        for ours, theirs in zip(
            again.get_weights(), model.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)


def test_rows_are_kept_and_made_of_the_checkpoint(tmp_path):
    """As bert4keras: kept rows first, then means of what is kept."""
    heads = {"with_mlm": True}
    whole = saved("bert", tmp_path / "a", **heads)
    kept, made = [7, 0, 30, 7], [[0, 2], ([1, 3], [3.0, 1.0])]
    model = build_transformer_model(
        checkpoint_path=tmp_path / "a",
        keep_tokens=kept,
        compound_tokens=made,
        **heads,
        **SIZES,
    )
    for layer in ("Embedding-Token", "MLM-Bias"):
        (table,) = whole.get_layer(layer).get_weights()
        (ours,) = model.get_layer(layer).get_weights()
        table = table[kept]
        np.testing.assert_array_equal(ours[:4], table)
        means = (table[0] + table[2]) / 2, 0.75 * table[1] + 0.25 * table[3]
        np.testing.assert_allclose(ours[4:], means, atol=1e-6)
    first = "Transformer-0-FeedForward"
    for ours, theirs in zip(
        model.get_layer(first).get_weights(),
        whole.get_layer(first).get_weights(),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("ending", ["ckpt", "safetensors"])
def test_rows_of_an_output_that_is_not_tied(ending, tmp_path):
    path, gated = tmp_path / f"a.{ending}", {"hidden_act": ["gelu", "linear"]}
    whole = saved("t5.1.1", path, **gated)
    kept = [5, 0, 2]
    model = build_transformer_model(
        checkpoint_path=path,
        model="t5.1.1",
        keep_tokens=kept,
        **{**SIZES, **gated},
    )
    (kernel,) = whole.get_layer("Decoder-Output-LM").get_weights()
    (ours,) = model.get_layer("Decoder-Output-LM").get_weights()
    np.testing.assert_array_equal(ours, kernel[:, kept])


def test_a_checkpoint_of_another_vocabulary_is_rejected(tmp_path):
    saved("bert", tmp_path / "a")
    sizes = {**SIZES, "vocab_size": 29}
    for options in ({}, {"keep_tokens": [1, 2]}):
        with pytest.raises(ValueError, match="vocab.*Received: .*31"):
            build_transformer_model(
                checkpoint_path=tmp_path / "a", **sizes, **options
            )


def test_no_weight_is_left_at_zero(tmp_path):
    """Even those that no checkpoint has: a third gate, a condition."""
    gated = {"hidden_act": ["gelu", "linear", "silu"]}
    saved("bert", tmp_path / "a", hidden_act=gated["hidden_act"][:2])
    condition = keras.Input((5,))
    model = build_transformer_model(
        checkpoint_path=tmp_path / "a",
        layer_norm_cond=condition,
        layer_norm_cond_hidden_size=3,
        additional_input_layers=condition,
        **{**SIZES, **gated},
    )
    kernels = [w for w in model.weights if "hidden" in w.path]
    assert any("hidden_2/kernel" in w.path for w in kernels)
    for weight in kernels:
        if weight.path.endswith("kernel"):
            assert np.std(keras.ops.convert_to_numpy(weight)) > 0.001, weight


def test_layers_of_the_user_keep_their_weights(tmp_path):
    saved("bert", tmp_path / "a")
    condition = keras.Input((), dtype="int32")
    table = keras.layers.Embedding(2, 4, name="condition")
    embedded = table(condition)
    before = table.get_weights()
    build_transformer_model(
        checkpoint_path=tmp_path / "a",
        layer_norm_cond=embedded,
        additional_input_layers=condition,
        **SIZES,
    )
    np.testing.assert_array_equal(table.get_weights(), before)


def test_layers_that_are_used_again_keep_what_no_checkpoint_has(tmp_path):
    acts = ["gelu", "linear", "silu"]
    saved("bert", tmp_path / "a", hidden_act=acts[:2])
    options = {**SIZES, "hidden_act": acts, "return_keras_model": False}
    first = build_transformer_model(checkpoint_path=tmp_path / "a", **options)
    before = first.model.get_weights()
    for path in (tmp_path / "a", tmp_path / "nowhere"):
        try:
            build_transformer_model(
                checkpoint_path=path, layers=first.layers, **options
            )
        except FileNotFoundError:
            assert path.name == "nowhere"
        for ours, old in zip(first.model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(ours, old)


def test_a_failed_load_leaves_no_layers(tmp_path):
    layers = {}
    with pytest.raises(FileNotFoundError):
        build_transformer_model(
            checkpoint_path=tmp_path / "nowhere", layers=layers, **SIZES
        )
    assert not layers


def test_copies_of_a_loaded_model_begin_at_random(tmp_path):
    saved("t5", tmp_path / "a")
    model = build_transformer_model(
        checkpoint_path=tmp_path / "a", model="t5", **SIZES
    )
    copy = keras.models.clone_model(model)
    for weight in copy.weights:
        if weight.path.endswith(("kernel", "embeddings")):
            assert np.std(keras.ops.convert_to_numpy(weight)) > 0.001, weight
    model.save(tmp_path / "a.keras")
    again = keras.saving.load_model(tmp_path / "a.keras")
    for ours, theirs in zip(
        again.get_weights(), model.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_weights_may_be_resized(tmp_path):
    whole = saved("bert", tmp_path / "a")
    sizes = {**SIZES, "hidden_size": 24, "num_attention_heads": 6}
    with pytest.raises(ValueError, match="must be of shape"):
        build_transformer_model(checkpoint_path=tmp_path / "a", **sizes)
    model = build_transformer_model(
        checkpoint_path=tmp_path / "a", autoresize_weights=True, **sizes
    )
    name = "Transformer-0-MultiHeadSelfAttention"
    kernel = whole.get_layer(name).get_weights()[0].reshape(12, 12)
    ours = model.get_layer(name).get_weights()[0].reshape(24, 24)
    twice = np.arange(12).reshape(6, 2).repeat(2, axis=0).ravel()
    expected = kernel[twice][:, twice] / 2 * 2**0.25  # of the same norm
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    assert np.isfinite(run(model, ids())).all()


WIDER = {**SIZES, "hidden_size": 24}


@pytest.mark.parametrize("ending", ["ckpt", "safetensors"])
def test_rows_are_kept_before_weights_are_resized(ending, tmp_path):
    kept, path = [7, 0, 30, 7], tmp_path / f"a.{ending}"
    for name, options, layers in (
        ("bert", {"with_mlm": True}, ("Embedding-Token", "MLM-Bias")),
        (
            "t5.1.1",
            {"hidden_act": ["gelu", "linear"]},
            ("Embedding-Token", "Decoder-Output-LM"),
        ),
    ):
        whole = saved(name, path, **options)
        arguments = {
            "checkpoint_path": path,
            "model": name,
            "keep_tokens": kept,
            "autoresize_weights": True,
            **WIDER,
            **options,
        }
        model = build_transformer_model(**arguments)
        for layer in layers:
            (table,) = whole.get_layer(layer).get_weights()
            (ours,) = model.get_layer(layer).get_weights()
            table = table[:, kept] if "Output" in layer else table[kept]
            expected = resize(table, ours.shape)
            np.testing.assert_allclose(ours, expected, rtol=1e-5)
        with pytest.raises(ValueError, match="vocab_size.*Received: .*31"):
            build_transformer_model(**{**arguments, "vocab_size": 33})


def test_weights_that_are_missing_may_be_ignored(tmp_path):
    whole = saved("bert", tmp_path / "a")
    sizes = {**SIZES, "num_hidden_layers": 3}
    with pytest.raises(ValueError, match="without 16: .*layer_2"):
        build_transformer_model(checkpoint_path=tmp_path / "a", **sizes)
    model = build_transformer_model(
        checkpoint_path=tmp_path / "a", ignore_invalid_weights=True, **sizes
    )
    for ours, theirs in zip(
        model.get_weights(), whole.get_weights(), strict=False
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_checkpoint_of_another_family_is_rejected(tmp_path):
    saved("gpt2", tmp_path / "a")
    with pytest.raises(ValueError, match="family 'bert'.*without"):
        build_transformer_model(checkpoint_path=tmp_path / "a", **SIZES)


def test_a_checkpoint_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        build_transformer_model(checkpoint_path=tmp_path / "nowhere", **SIZES)
