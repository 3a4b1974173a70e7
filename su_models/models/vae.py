"""VAE: an encoder and a decoder with noise between, and their trainer."""

import math

import keras
from keras import layers

from su_models.layers.stochastic.normal_sampling import NormalSampling
from su_models.layers.stochastic.vae_loss import VAELoss
from su_models.utils.checks import check_size


def build_vae(image_shape, latent_dim, widths=(256,), seed=None, name="vae"):
    """Builds a variational autoencoder of dense layers for small images.

    Article: https://kexue.fm/archives/5253
        《变分自编码器（一）：原来是这么一回事》
    Paper: https://arxiv.org/abs/1312.6114

    The model maps an image to its reconstruction from a random code:

        z ~ p(z|x) = N(μ(x), σ²(x)),   x̂ = g(z)

    Its parts are models with the same layers: `get_layer("encoder")` maps
    images to μ and log σ², `get_layer("decoder")` maps codes to images. After
    training by `build_vae_trainer`, codes from N(0, I) give new images.

    Args:
        image_shape: `(height, width, channels)`.
        latent_dim: int >= 1. Size of a code.
        widths: ints >= 1, at least one. Units of the encoder's hidden layers;
            the decoder uses them in reverse order.
        seed: optional int. Seed of the noise.
        name: name of the model.

    Returns:
        A `keras.Model` from images, floats `(batch, height, width,
        channels)`, usually scaled to -1 ... 1, to float32 images.

    Raises:
        ValueError: if a size is not a positive integer.

    Example:

    >>> vae = su_models.models.build_vae((8, 8, 1), latent_dim=6)
    >>> decoder = vae.get_layer("decoder")
    >>> decoder.output_shape
    (None, 8, 8, 1)
    """
    image_shape = _sizes("image_shape", image_shape)
    widths = _sizes("widths", widths)
    latent_dim = check_size("latent_dim", latent_dim)
    if len(image_shape) != 3:
        raise ValueError(
            "`image_shape` must be (height, width, channels). "
            f"Received: image_shape={image_shape}"
        )

    # === Layers ===
    encoder = _encoder(image_shape, latent_dim, widths)
    sample = NormalSampling(seed=seed, name="sample")
    decoder = _decoder(image_shape, latent_dim, widths[::-1])

    # === Functional model ===
    image = keras.Input(image_shape, name="image")
    mean, log_variance = encoder(image)
    reconstruction = decoder(sample(mean, log_variance))
    return keras.Model(image, reconstruction, name=name)


def build_vae_trainer(vae, stddev=1.0, name="vae_trainer"):
    """Builds the model that trains a variational autoencoder.

    Article: https://kexue.fm/archives/5253
        《变分自编码器（一）：原来是这么一回事》

    The trainer shares the layers of `vae`: train the trainer, and reconstruct
    or sample with `vae`. The loss, `su_models.layers.VAELoss`, is part of the
    graph, so compile without a loss.

    Args:
        vae: a model as `build_vae` returns, with the layers `"encoder"`,
            `"sample"` and `"decoder"`.
        stddev: float > 0. Standard deviation of a pixel around its
            reconstruction.
        name: name of the model.

    Returns:
        A `keras.Model` from images `(batch, ...)` to the loss of each image,
        `(batch,)`.

    Example:

    >>> vae = su_models.models.build_vae((8, 8, 1), latent_dim=6, seed=0)
    >>> trainer = su_models.models.build_vae_trainer(vae, stddev=0.3)
    >>> trainer.compile("adam", jit_compile=True)
    """
    # === Layers ===
    encoder, sample, decoder = (
        vae.get_layer(part) for part in ("encoder", "sample", "decoder")
    )
    loss = VAELoss(stddev, name="loss")

    # === Functional model ===
    image = keras.Input(vae.input_shape[1:], name="image")
    mean, log_variance = encoder(image)
    reconstruction = decoder(sample(mean, log_variance))
    return keras.Model(
        image, loss(image, reconstruction, mean, log_variance), name=name
    )


def _encoder(image_shape, latent_dim, widths):
    """Builds the model from images to μ and log σ²."""
    image = keras.Input(image_shape, name="image")
    # `Flatten` would depend on the user's `image_data_format`
    x = layers.Reshape((math.prod(image_shape),), name="flatten")(image)
    for i, width in enumerate(widths):
        x = layers.Dense(width, "swish", name=f"encoder_dense_{i}")(x)
    heads = [
        # float32 under every policy, since the divergence has exp(log σ²)
        layers.Dense(latent_dim, dtype="float32", name=head)(x)
        for head in ("mean", "log_variance")
    ]
    return keras.Model(image, heads, name="encoder")


def _decoder(image_shape, latent_dim, widths):
    """Builds the model from codes to images."""
    x = code = keras.Input((latent_dim,), name="code")
    for i, width in enumerate(widths):
        x = layers.Dense(width, "swish", name=f"decoder_dense_{i}")(x)
    x = layers.Dense(math.prod(image_shape), dtype="float32", name="pixels")(x)
    x = layers.Reshape(image_shape, dtype="float32", name="unflatten")(x)
    return keras.Model(code, x, name="decoder")


def _sizes(name, sizes):
    """Returns positive integers, at least one, as a tuple."""
    if not isinstance(sizes, (list, tuple)) or not sizes:
        raise ValueError(
            f"`{name}` must be at least one positive integer. "
            f"Received: {name}={sizes!r}"
        )
    return tuple(check_size(name, size) for size in sizes)
