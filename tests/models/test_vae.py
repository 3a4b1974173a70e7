"""Article: https://kexue.fm/archives/5253"""

import keras
import numpy as np
import pytest

from su_models.models import build_vae, build_vae_trainer


def to_numpy(x):
    return keras.ops.convert_to_numpy(x)


def images(n=3):
    random = np.random.default_rng(0)
    return random.uniform(-1, 1, (n, 4, 5, 2)).astype("float32")


def swish(x):
    return x / (1 + np.exp(-x))


def dense(layer, x):
    kernel, bias = (to_numpy(w).astype("float64") for w in layer.weights)
    return x @ kernel + bias


def test_the_parts_are_what_numpy_computes():
    vae = build_vae((4, 5, 2), 3, (6, 7), seed=0)
    encoder, decoder = vae.get_layer("encoder"), vae.get_layer("decoder")
    x = images()
    h = x.reshape(3, -1).astype("float64")
    for i in range(2):
        h = swish(dense(encoder.get_layer(f"encoder_dense_{i}"), h))
    mean, log_variance = encoder(x)
    for head, found in (("mean", mean), ("log_variance", log_variance)):
        expected = dense(encoder.get_layer(head), h)
        np.testing.assert_allclose(to_numpy(found), expected, atol=1e-5)
    z = to_numpy(mean)
    h = z.astype("float64")
    for i, width in enumerate((7, 6)):  # in reverse
        layer = decoder.get_layer(f"decoder_dense_{i}")
        assert layer.units == width
        h = swish(dense(layer, h))
    expected = dense(decoder.get_layer("pixels"), h).reshape(3, 4, 5, 2)
    np.testing.assert_allclose(to_numpy(decoder(z)), expected, atol=1e-5)


def test_the_whole_is_its_parts_with_noise_between():
    vae = build_vae((4, 5, 2), 3, (6,), seed=0)
    mean, log_variance = vae.get_layer("encoder")(images())
    twin = build_vae((4, 5, 2), 3, (6,), seed=0)  # the same noise
    z = twin.get_layer("sample")(mean, log_variance)
    expected = to_numpy(vae.get_layer("decoder")(z))
    np.testing.assert_allclose(to_numpy(vae(images())), expected, atol=1e-6)
    assert (to_numpy(vae(images())) != expected).any()  # drawn anew


def test_the_trainer_shares_the_layers():
    vae = build_vae((4, 5, 2), 3, (6,), seed=0)
    trainer = build_vae_trainer(vae, 0.5)
    for part in ("encoder", "sample", "decoder"):
        assert trainer.get_layer(part) is vae.get_layer(part)
    assert trainer.get_layer("loss").stddev == 0.5
    assert trainer.output_shape == (None,)
    assert tuple(trainer(images()).shape) == (3,)


def test_codes_come_to_the_prior():
    keras.utils.set_random_seed(0)
    x = images(64)
    vae = build_vae((4, 5, 2), 3, (16,), seed=0)
    trainer = build_vae_trainer(vae, stddev=0.5)
    trainer.compile(keras.optimizers.Adam(0.01))
    losses = trainer.fit(x, batch_size=32, epochs=60, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    mean, log_variance = vae.get_layer("encoder").predict(x, verbose=0)
    # the variance of all codes: of their means, and within each
    spread = mean.var(axis=0) + np.exp(log_variance).mean(axis=0)
    assert (np.abs(spread - 1) < 0.35).all() and abs(mean.mean()) < 0.2


def test_the_user_s_order_of_axes_changes_nothing():
    x = images()
    built = build_vae((4, 5, 2), 3, (6,), seed=0)
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        other = build_vae((4, 5, 2), 3, (6,), seed=0)
    finally:
        keras.config.set_image_data_format(before)
    other.set_weights(built.get_weights())
    np.testing.assert_array_equal(
        to_numpy(other.get_layer("encoder")(x)[0]),
        to_numpy(built.get_layer("encoder")(x)[0]),
    )


@pytest.mark.parametrize(
    "more",
    [
        {"image_shape": (8, 8)},
        {"image_shape": (8, 0, 1)},
        {"image_shape": 8},
        {"latent_dim": 0},
        {"latent_dim": 2.0},
        {"widths": ()},
        {"widths": (8, -1)},
        {"widths": 8},
    ],
)
def test_bad_sizes_are_refused(more):
    sizes = {"image_shape": (8, 8, 1), "latent_dim": 2, "widths": (8,), **more}
    with pytest.raises(ValueError, match=f"Received: {[*more][0]}="):
        build_vae(**sizes)
