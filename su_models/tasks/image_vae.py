"""Image generation by a variational autoencoder."""

import dataclasses
from typing import ClassVar

import keras
import numpy as np
from keras import ops

from su_models.backend.compile import compiled, has_xla
from su_models.backend.random import normal, seed_words
from su_models.models.vae import build_vae, build_vae_trainer
from su_models.ops.normal_kl import normal_kl
from su_models.sampling.batches import Batches
from su_models.tasks.base import cosine_decay
from su_models.tasks.images import ImageTask
from su_models.utils.checks import check_positive, check_share, check_size
from su_models.utils.picture import side_by_side


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageVAE(ImageTask):
    """A VAE on a data set of images, with its training and sampling.

    Article: https://kexue.fm/archives/5253
        《变分自编码器（一）：原来是这么一回事》

    The model of a run maps an image to its reconstruction; its layers
    `"encoder"` and `"decoder"` are the two halves. The learning rate rises
    linearly over the first tenth of the steps, then decays along a cosine to
    2 %.

    Args:
        latent_dim: int. Size of a code.
        width: int. Units of each hidden layer.
        depth: int. Hidden layers of the encoder, and of the decoder.
        stddev: float > 0. Standard deviation of a pixel around its
            reconstruction; see `su_models.layers.VAELoss`.
        ema_momentum: float in [0, 1). Momentum of the averaged weights.
        data, steps, batch_size, steps_per_epoch, learning_rate, jit_compile,
            seed: see `Task` and `ImageTask`.
    """

    task_name: ClassVar[str] = "image-vae"
    loss_label: ClassVar[str] = "loss: error and divergence, of an image"

    latent_dim: int = 10
    width: int = 256
    depth: int = 2
    stddev: float = 0.5
    ema_momentum: float = 0.99
    steps: int = 8000
    steps_per_epoch: int = 400
    learning_rate: float = 2e-3

    def __post_init__(self):
        super().__post_init__()
        for name in ("latent_dim", "width", "depth"):
            self.keep(name, check_size(name, getattr(self, name)))
        self.keep("stddev", check_positive("stddev", self.stddev))
        share = check_share("ema_momentum", self.ema_momentum)
        self.keep("ema_momentum", share)

    def build(self):
        """Returns the autoencoder."""
        return build_vae(
            self.images().shape[1:],
            self.latent_dim,
            (self.width,) * self.depth,
            seed=self.seed,
        )

    def trainer(self, model):
        """Returns the graph from an image to the loss, compiled."""
        trainer = build_vae_trainer(model, self.stddev)
        rate = cosine_decay(self, self.steps // 10, alpha=0.02)
        trainer.compile(
            keras.optimizers.Adam(
                rate, use_ema=True, ema_momentum=self.ema_momentum
            ),
            jit_compile=self.jit_compile and has_xla(),
        )
        return trainer

    def batches_of_samples(self, model, batch_size):
        """Returns batches of images decoded from normal codes."""
        decoder = model.get_layer("decoder")

        def batch(seed, k):
            codes = normal((batch_size, self.latent_dim), seed_words(seed, k))
            return decoder(codes, training=False)

        return Batches(
            compiled(batch, decoder.variables),
            (batch_size, *decoder.output_shape[1:]),
        )

    def pictures(self, model, seed=0, columns=10):
        """Returns `"samples"`, and `"reconstructions"` of held-out images.

        Reconstructions from the mean code are on the left, the images
        themselves on the right.
        """
        real = self.images("test")[: columns**2]
        mean, _ = self._encoded(model, real)
        made = self._decoded(model, mean)
        return {
            **super().pictures(model, seed, columns),
            "reconstructions": side_by_side(made, real, columns),
        }

    def evaluate(self, model, progress=False, number=None):
        """Returns the judge's metrics, and the terms of the held-out loss.

        `"held_out_loss"` is `"held_out_error"`, ‖x - x̂‖² / (2 τ²) with one
        code drawn for each image, plus `"held_out_divergence"`.
        """
        real = self.images("test")
        mean, log_variance = self._encoded(model, real)
        noise = np.random.default_rng(self.seed).normal(size=mean.shape)
        codes = mean + np.exp(log_variance / 2) * noise.astype("float32")
        square = np.square(real - self._decoded(model, codes))
        error = square.sum(axis=(1, 2, 3)).mean() / (2 * self.stddev**2)
        divergence = float(ops.mean(normal_kl(mean, log_variance)))
        return {
            **super().evaluate(model, progress, number),
            "held_out_loss": error + divergence,
            "held_out_error": error,
            "held_out_divergence": divergence,
        }

    def _encoded(self, model, images):
        """Returns μ and log σ² of images."""
        return model.get_layer("encoder").predict(images, verbose=0)

    def _decoded(self, model, codes):
        """Returns images decoded from codes."""
        return model.get_layer("decoder").predict(codes, verbose=0)


RUNS = {"vae-digits": ImageVAE()}
