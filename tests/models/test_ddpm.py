"""Article: https://kexue.fm/archives/9152, https://kexue.fm/archives/9119"""

import json

import keras
import numpy as np
import pytest
from keras import ops

from su_models.layers import TimestepEmbedding
from su_models.models import build_ddpm, build_ddpm_trainer, ddpm
from su_models.optimizers import Lookahead
from su_models.sampling import NoiseSchedule
from tests.contract.base import JIT, global_policy, normal, to_numpy

JAX = keras.config.backend() == "jax"
SMALL = {"widths": (4, 8), "blocks": 1, "num_steps": 12, "groups": 2}
VARIANTS = {
    "ho": {**SMALL, "variant": "ho"},
    "su": {**SMALL, "variant": "su"},
    "dense": {**SMALL, "variant": "dense", "widths": (64,)},
}
# noise at every level: what a small network can learn in a few steps
STRONG = NoiseSchedule.from_betas(np.linspace(0.05, 0.7, 12))
each_variant = pytest.mark.parametrize("variant", VARIANTS)


def small(variant, image_shape=(8, 8, 2), **more):
    return build_ddpm(**VARIANTS[variant], image_shape=image_shape, **more)


def perturb(model):
    """Gives every weight some size, or zeros hide what is wrong."""
    random = np.random.default_rng(2)
    for w in model.trainable_weights:
        w.assign(to_numpy(w) + 0.2 * random.normal(size=w.shape))
    return model


def count(weights):
    return sum(int(np.prod(w.shape)) for w in weights)


# ---- the author's networks


@pytest.mark.parametrize(
    "preset, more, trainable, frozen",
    [
        ("ddpm", {}, 50_514_176, 0),
        ("ddpm", {"blocks": 1}, 25_275_648, 0),
        ("ddpm2", {}, 92_460_800, 128_000),
    ],
)
def test_presets_have_the_parameters_of_the_authors_scripts(
    preset, more, trainable, frozen
):
    model = build_ddpm(preset, **more)
    assert count(model.trainable_weights) == trainable
    assert count(model.non_trainable_weights) == frozen
    assert model.output_shape == (None, 128, 128, 3)
    if preset == "ddpm":
        coarsest = model.get_layer("middle_norm")
        assert coarsest.output.shape == (None, 4, 4, 512)


@pytest.mark.parametrize("preset", ["digits", "mnist"])
def test_presets_of_small_images_fit_them(preset):
    shape = {"digits": (8, 8, 1), "mnist": (28, 28, 1)}[preset]
    model = build_ddpm(preset, num_steps=50)
    assert [i.shape[1:] for i in model.inputs] == [shape, ()]
    assert model.output_shape[1:] == shape
    assert model.get_layer("step_table").num_steps == 50


# ---- the blocks, as NumPy loops


def swish(x):
    return x / (1 + np.exp(-x))


def conv(x, kernel):
    """3x3, zeros around, no bias."""
    height, width = x.shape[1:3]
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    y = np.zeros((*x.shape[:3], kernel.shape[-1]))
    for i in range(3):
        for j in range(3):
            y += padded[:, i : i + height, j : j + width] @ kernel[i, j]
    return y


def group_norm(x, groups, gamma, beta):
    """Groups of contiguous channels."""
    y = np.empty(x.shape)
    size = x.shape[-1] // groups
    for n in range(len(x)):
        for g in range(groups):
            part = x[n, ..., g * size : (g + 1) * size]
            y[n, ..., g * size : (g + 1) * size] = (
                part - part.mean()
            ) / np.sqrt(part.var() + 1e-6)
    return y * gamma + beta


def layer_norm(x, gamma, beta):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * gamma + beta


def block_model(variant, channels):
    """A residual block alone, `channels` in and 4 out, and its weights."""
    cls = ddpm._VARIANTS[variant]
    plan = cls((5, 6, 1), (4,), 1, 12, 1, groups=2, dropout=0.0)
    shape = (channels,) if variant == "dense" else (5, 6, channels)
    x, t = keras.Input(shape), keras.Input((7,))
    if variant == "dense":
        y = plan.residual_block(x, t, "block")
    else:
        y = plan.residual_block(x, t, 4, "block")
    return keras.Model([x, t], y)


def weights_of(model):
    return {
        "/".join(w.path.split("/")[-2:]): to_numpy(w).astype("float64")
        for w in model.weights
    }


@pytest.mark.parametrize("channels", [4, 6])
def test_ho_block_normalizes_first(channels):
    model = perturb(block_model("ho", channels))
    w, (x, t) = weights_of(model), (normal(2, 5, 6, channels), normal(2, 7))
    norm = [
        (w[f"block_{i}_norm/gamma"], w[f"block_{i}_norm/beta"]) for i in (1, 2)
    ]
    h = conv(swish(group_norm(x, 2, *norm[0])), w["block_conv_1/kernel"])
    h = h + (t @ w["block_step/kernel"])[:, None, None]
    h = conv(swish(group_norm(h, 2, *norm[1])), w["block_conv_2/kernel"])
    shortcut = x @ w["block_shortcut/kernel"] if channels != 4 else x
    np.testing.assert_allclose(to_numpy(model([x, t])), h + shortcut, atol=1e-4)


@pytest.mark.parametrize("channels", [4, 6])
def test_su_block_normalizes_last(channels):
    model = perturb(block_model("su", channels))
    w, (x, t) = weights_of(model), (normal(2, 5, 6, channels), normal(2, 7))
    h = x + (t @ w["block_step/kernel"])[:, None, None]
    h = swish(conv(h, w["block_conv_1/kernel"]))
    h = swish(conv(h, w["block_conv_2/kernel"]))
    h = h + (x @ w["block_shortcut/kernel"] if channels != 4 else x)
    h = group_norm(h, 2, w["block_norm/gamma"], w["block_norm/beta"])
    np.testing.assert_allclose(to_numpy(model([x, t])), h, atol=1e-4)


def test_dense_block_normalizes_first():
    model = perturb(block_model("dense", 4))
    w, (x, t) = weights_of(model), (normal(2, 4), normal(2, 7))
    h = layer_norm(x, w["block_norm/gamma"], w["block_norm/beta"])
    h = h @ w["block_dense_1/kernel"] + t @ w["block_step/kernel"]
    h = swish(h) @ w["block_dense_2/kernel"]
    np.testing.assert_allclose(to_numpy(model([x, t])), x + h, atol=1e-4)


@pytest.mark.parametrize("variant", ["ho", "dense"])
def test_blocks_begin_as_the_identity(variant):
    model = block_model(variant, 4)
    x = normal(2, 4) if variant == "dense" else normal(2, 5, 6, 4)
    np.testing.assert_array_equal(to_numpy(model([x, normal(2, 7)])), x)


def test_convolutions_of_su_begin_small():
    """Scale 1/√(2m + 1) for m resolutions, as in the author's script."""
    model = build_ddpm("ddpm", blocks=1, image_shape=(32, 32, 3))
    for name, scale in ("stem", 1.0), ("middle_conv_1", 13**-0.5):
        kernel = to_numpy(model.get_layer(name).kernel)
        fan = 9 * (kernel.shape[2] + kernel.shape[3]) / 2
        limit = np.sqrt(3 * scale / fan)
        np.testing.assert_allclose(np.abs(kernel).max(), limit, rtol=0.01)


# ---- patches


def patches(image_shape, patch_size):
    plan = ddpm._HoUNet(image_shape, (4,), 1, 12, patch_size, 2, 0.0)
    x = keras.Input(image_shape)
    cut = plan.cut(x)
    return keras.Model(x, cut), keras.Model(x, plan.join(cut))


def test_patch_is_the_channels_of_one_position():
    x = normal(2, 8, 12, 3)
    y = to_numpy(patches((8, 12, 3), 2)[0](x))
    assert y.shape == (2, 4, 6, 12)
    for i, j in np.ndindex(4, 6):
        pixels = x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].reshape(2, 12)
        np.testing.assert_array_equal(y[:, i, j], pixels)


@pytest.mark.parametrize("patch_size", [1, 2, 4])
def test_patches_are_joined_as_they_were_cut(patch_size):
    x = normal(2, 8, 12, 3)
    y = patches((8, 12, 3), patch_size)[1](x)
    np.testing.assert_array_equal(to_numpy(y), x)


# ---- the networks as a whole


@pytest.mark.parametrize(
    "variant, image_shape, patch_size",
    [
        ("ho", (8, 8, 1), 1),
        ("ho", (12, 8, 3), 1),
        ("ho", (28, 28, 1), 2),
        ("su", (12, 8, 3), 2),
        ("dense", (9, 11, 2), 1),
        ("dense", (12, 8, 3), 2),
    ],
)
def test_noise_has_the_shape_of_the_image_and_is_float32(
    variant, image_shape, patch_size
):
    model = small(variant, image_shape, patch_size=patch_size)
    x, t = normal(3, *image_shape), np.array([1, 12, 5], "int32")
    y = model.predict([x, t], verbose=0)
    assert y.shape == x.shape and np.isfinite(y).all()
    assert y.dtype == np.float32


@each_variant
def test_each_image_has_its_own_step(variant):
    model = perturb(small(variant))
    x = np.repeat(normal(1, 8, 8, 2), 3, axis=0)
    y = model.predict([x, np.array([1, 2, 12], "int32")], verbose=0)
    for i, j in (0, 1), (1, 2):
        assert np.abs(y[i] - y[j]).max() > 1e-2
    z = model.predict([x, np.array([12, 2, 12], "int32")], verbose=0)
    np.testing.assert_allclose(z[[0, 2]], y[[2, 2]], atol=1e-5)
    np.testing.assert_allclose(z[1], y[1], atol=1e-5)


@each_variant
def test_every_pixel_of_the_noise_sees_every_pixel_of_the_image(variant):
    model = perturb(small(variant))
    x, t = normal(1, 8, 8, 2), np.array([5], "int32")
    for row, column in (0, 0), (7, 7):
        changed = x.copy()
        changed[0, row, column] += 1.0
        y = [model.predict([i, t], verbose=0) for i in (x, changed)]
        moved = np.abs(y[0] - y[1]).max(axis=-1)
        assert (moved > 0).all()


@each_variant
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_low_precision_gives_float32_noise_near_the_exact(variant, policy):
    model = perturb(small(variant))
    with global_policy(policy):
        low = small(variant)
    low.set_weights(model.get_weights())
    assert low.get_layer("stem").compute_dtype == policy.removeprefix("mixed_")
    x, t = normal(2, 8, 8, 2), np.array([1, 12], "int32")
    y, z = (m.predict([x, t], verbose=0) for m in (model, low))
    assert z.dtype == np.float32
    assert 0 < np.abs(y - z).max() < 0.05 * np.abs(y).max()


@pytest.mark.parametrize("variant", ["ho", "dense"])
def test_dropout_is_on_in_training_only(variant):
    model = perturb(small(variant, dropout=0.5))
    x, t = normal(2, 8, 8, 2), np.array([1, 12], "int32")
    trained, tested = (
        [to_numpy(model([x, t], training=mode)) for _ in range(2)]
        for mode in (True, False)
    )
    assert (trained[0] != trained[1]).any()
    np.testing.assert_array_equal(tested[0], tested[1])


# ---- training


def pictures(n):
    """Bright halves: left or right."""
    x = -np.ones((n, 8, 8, 2), "float32")
    x[::2, :, :4] = 1.0
    x[1::2, :, 4:] = 1.0
    return x


def test_trainer_has_the_variables_of_the_denoiser():
    model = small("ho")
    trainer = build_ddpm_trainer(model, NoiseSchedule.author(12), seed=0)
    ours = [id(v) for v in model.trainable_variables]
    assert [id(v) for v in trainer.trainable_variables] == ours
    assert {*map(id, model.variables)} <= {*map(id, trainer.variables)}


def test_trainers_loss_is_eq_15_of_its_own_noise():
    model = perturb(small("dense"))
    schedule = NoiseSchedule.author(12)
    trainer = build_ddpm_trainer(model, schedule, seed=3)
    diffuse = trainer.get_layer("diffuse")
    state = to_numpy(diffuse.generator.state)
    x, t, noise = diffuse(pictures(5))
    predicted = to_numpy(model([x, t]))
    expected = np.square(to_numpy(noise) - predicted).sum(axis=(1, 2, 3))
    diffuse.generator.state.assign(
        ops.cast(state, diffuse.generator.state.dtype)
    )
    np.testing.assert_allclose(
        to_numpy(trainer(pictures(5))), expected, rtol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "variant, more, jit",  # TensorFlow's XLA takes its time over a U-Net
    [("ho", {"widths": (4,)}, JIT), ("su", {}, JAX), ("dense", {}, JIT)],
)
def test_trains_with_lookahead_and_averages_are_left_in_the_model(
    variant, more, jit
):
    model = build_ddpm(**{**VARIANTS[variant], **more}, image_shape=(8, 8, 2))
    trainer = build_ddpm_trainer(model, STRONG, seed=0)
    adam = keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.5)
    trainer.compile(Lookahead(adam, sync_period=5), jit_compile=jit)
    ends = []  # the weights at the end of each epoch, not averaged
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: ends.append(
            [to_numpy(w) for w in model.trainable_weights]
        )
    )
    loss = trainer.fit(
        pictures(32), batch_size=16, epochs=20, callbacks=[watch], verbose=0
    ).history["loss"]
    assert np.mean(loss[-3:]) < 0.9 * loss[0] and np.isfinite(loss).all()
    assert loss[0] > 64  # begins near Var ε, summed over 8 * 8 * 2
    for w, last in zip(model.trainable_weights, ends[-1], strict=True):
        average = to_numpy(w)
        assert (average != last).any(), "not averaged"
        near = np.abs(average - last).max()
        assert near < 0.1, "far from where training ended"
    averages = adam._model_variables_moving_average
    assert len(averages) == len(model.trainable_weights)
    for w, average in zip(model.trainable_weights, averages, strict=True):
        np.testing.assert_array_equal(to_numpy(w), to_numpy(average))


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_trains_in_low_precision(policy):
    with global_policy(policy):
        model = small("dense")
        trainer = build_ddpm_trainer(model, STRONG, seed=0)
        adam = Lookahead(keras.optimizers.Adam(1e-2))
        trainer.compile(adam, jit_compile=JIT)
    loss = trainer.fit(
        pictures(32), batch_size=16, epochs=20, verbose=0
    ).history["loss"]
    assert np.isfinite(loss).all()
    assert np.mean(loss[-3:]) < 0.9 * loss[0]
    assert all(
        keras.backend.standardize_dtype(w.dtype) == "float32"
        for w in model.trainable_weights
    )


# ---- refusals

GOOD = {"image_shape": (8, 8, 1), "widths": (4, 8), "groups": 2}


@pytest.mark.parametrize(
    "bad",
    [
        {"preset": "ddpm3"},
        {"variant": "unet"},
        {"image_shape": (7, 8, 1)},
        {"image_shape": (8, 4, 1)},
        {"image_shape": (8, 8)},
        {"image_shape": (8, 8, 0)},
        {"image_shape": (None, 8, 1)},
        {"image_shape": 28},
        {"image_shape": (10, 8, 1), "widths": (4, 4, 4)},
        {"image_shape": (10, 8, 1), "patch_size": 2},
        {"image_shape": (9, 8, 1), "patch_size": 2, "widths": (4,)},
        {"widths": ()},
        {"widths": (4, -8)},
        {"widths": 64},
        {"widths": (4.5, 8)},
        {"widths": (3,), "groups": 3},
        {"widths": (4, 8), "variant": "dense"},
        {"groups": 3},
        {"groups": 0},
        {"blocks": 0},
        {"blocks": 1.5},
        {"num_steps": 0},
        {"num_steps": -1},
        {"patch_size": 0},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"dropout": float("nan")},
        {"dropout": "x"},
        {"dropout": True},
        {"groups": True},
        {"blocks": True},
        {"widths": "48"},
        {"widths": (True, 8)},
        {"image_shape": (8, 8, True)},
        {"image_shape": "881"},
        {"variant": ["ho"]},
        {"preset": ["digits"]},
        {"preset": 3},
    ],
    ids=str,
)
def test_bad_arguments_are_refused(bad):
    with pytest.raises(ValueError, match="Received: ") as caught:
        build_ddpm(**{**GOOD, **bad})
    received = str(caught.value).split("Received: ")[1]
    for name, value in list(bad.items())[:1]:
        shown = f"{name}={value!r}", f"{name}={value}"
        assert any(words in received for words in shown)


@pytest.mark.parametrize("name", ["image_shape", "widths"])
def test_missing_arguments_are_refused(name):
    arguments = {key: GOOD[key] for key in GOOD if key != name}
    with pytest.raises(ValueError, match=f"Received: {name}=None"):
        build_ddpm(**arguments)


def test_denoiser_with_another_number_of_steps_is_refused():
    model = small("ho")
    x, t = keras.Input((8, 8, 2)), keras.Input((), dtype="int32")
    for denoiser in model, keras.Model([x, t], model([x, t])):
        match = r"num_steps=10. Received: denoiser with num_steps=12"
        with pytest.raises(ValueError, match=match):
            build_ddpm_trainer(denoiser, NoiseSchedule.author(10))


def test_denoiser_with_another_output_shape_is_refused():
    x, t = keras.Input((8, 8, 2)), keras.Input((), dtype="int32")
    y = keras.layers.Conv2D(1, 1)(x)
    y = y + ops.reshape(TimestepEmbedding(12, 1)(t), (-1, 1, 1, 1))
    match = "Received: predicted_noise of shape"
    with pytest.raises(ValueError, match=match):
        build_ddpm_trainer(keras.Model([x, t], y), NoiseSchedule.author(12))


@pytest.mark.parametrize("denoiser", [3, None, lambda x, t: x])
def test_what_is_no_model_is_not_trained(denoiser):
    with pytest.raises(ValueError, match="`denoiser` must .*Received: "):
        build_ddpm_trainer(denoiser, NoiseSchedule.author(12))


@pytest.mark.parametrize("schedule", [3, None])
def test_what_is_no_schedule_is_not_trained_with(schedule):
    with pytest.raises(ValueError, match="`schedule` must .*Received: "):
        build_ddpm_trainer(small("dense"), schedule)


def test_numpy_numbers_are_numbers():
    given = {
        "image_shape": np.array([8, 8, 2]),
        "widths": [np.int64(4), np.int32(8)],
        "groups": np.int64(2),
        "blocks": np.uint8(1),
        "num_steps": np.int64(12),
        "dropout": np.float32(0.25),
    }
    model = build_ddpm(**given)
    config = json.loads(json.dumps(model.get_config()))
    again = keras.Model.from_config(config)
    assert again.count_params() == model.count_params()


# ---- what is called with what


@each_variant
@pytest.mark.parametrize(("n", "m"), [(3, 1), (1, 3)])
def test_steps_of_another_batch_are_refused(variant, n, m):
    model = small(variant)
    x, t = normal(n, 8, 8, 2), np.ones(m, "int32")
    with pytest.raises(ValueError, match="Received: vector of shape"):
        model([ops.convert_to_tensor(x), ops.convert_to_tensor(t)])


@pytest.mark.parametrize("step", [0, 13, -1])
@pytest.mark.parametrize("jit", [True, False])
def test_steps_that_do_not_exist_are_an_error_or_nan(step, jit):
    model = perturb(small("dense"))
    model.compile(jit_compile=jit and JIT, run_eagerly=not jit)
    x, t = normal(3, 8, 8, 2), np.array([1, step, 12], "int32")
    if keras.config.backend() == "torch" or not jit:
        with pytest.raises(ValueError, match=f"Received: steps with {step}"):
            model.predict([x, t], verbose=0)
        return
    y = model.predict([x, t], verbose=0)
    assert np.isnan(y[1]).all() and np.isfinite(y[[0, 2]]).all()


@each_variant
def test_data_format_of_the_settings_is_of_no_interest(variant):
    keras.utils.set_random_seed(3)
    here = small(variant)
    x, t = normal(2, 8, 8, 2), np.array([1, 12], "int32")
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        there = small(variant)
        again = keras.Model.from_config(here.get_config())
        for model in (there, again):
            assert model.output_shape == (None, 8, 8, 2)
            model.set_weights(here.get_weights())
        ours, theirs, loaded = (
            model.predict([x, t], verbose=0) for model in (here, there, again)
        )
    finally:
        keras.config.set_image_data_format(before)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(ours, loaded)
