"""Image generation by diffusion."""

import dataclasses
from typing import ClassVar

import keras

from su_models.backend.compile import has_xla
from su_models.models.ddpm import build_ddpm, build_ddpm_trainer
from su_models.ops.noise_schedule import NoiseSchedule
from su_models.optimizers.lookahead import Lookahead
from su_models.sampling.ddim import DDIM
from su_models.tasks.base import cosine_decay
from su_models.tasks.images import ImageTask
from su_models.utils.checks import (
    check_not_negative,
    check_number,
    check_share,
    check_size,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageDiffusion(ImageTask):
    """A DDPM on a data set of images, with its training and sampling.

    Article: https://kexue.fm/archives/9152
        《生成扩散模型漫谈（二）：DDPM = 自回归式VAE》
    Article: https://kexue.fm/archives/9181
        《生成扩散模型漫谈（四）：DDIM = 高观点DDPM》

    The model of a run is the network that predicts the noise, with averaged
    weights. The learning rate rises linearly over the first tenth of the
    steps (at most 500), then decays along a cosine to 2 %. On a CPU
    convolutions are faster without XLA, i.e. with `jit_compile=False`.

    Args:
        preset: preset of `su_models.models.build_ddpm`.
        blocks: optional int. Residual blocks. Defaults to the preset's.
        ema_momentum: float in [0, 1). Momentum of the averaged weights.
        sync_period, slow_step_size: see `su_models.optimizers.Lookahead`.
        dropout: float in [0, 1). Dropout rate of the network.
        num_steps: int. Number T of diffusion steps.
        stride, eta, spacing: see `su_models.sampling.DDIM`.
        data, steps, batch_size, steps_per_epoch, learning_rate, jit_compile,
            seed: see `Task` and `ImageTask`.
    """

    task_name: ClassVar[str] = "image-diffusion"
    loss_label: ClassVar[str] = "loss: ‖ε - ε_θ‖², summed over an image"

    preset: str = "digits"
    blocks: int | None = None
    steps: int = 8000
    steps_per_epoch: int = 200
    learning_rate: float = 2e-3
    ema_momentum: float = 0.999
    sync_period: int = 5
    slow_step_size: float = 0.5
    dropout: float = 0.0
    num_steps: int = 1000
    stride: int = 20
    eta: float = 0.0
    spacing: str = "trailing"

    def __post_init__(self):
        super().__post_init__()
        self.keep("blocks", check_size("blocks", self.blocks, optional=True))
        for name in ("num_steps", "stride", "sync_period"):
            self.keep(name, check_size(name, getattr(self, name)))
        for name in ("ema_momentum", "dropout"):
            self.keep(name, check_share(name, getattr(self, name)))
        self.keep("eta", check_not_negative("eta", self.eta))
        self.keep(
            "slow_step_size",
            check_number("slow_step_size", self.slow_step_size, 0, 1),
        )
        _ = self.sampler  # rejects invalid settings

    @property
    def schedule(self):
        """The author's `NoiseSchedule`."""
        return NoiseSchedule.author(self.num_steps)

    @property
    def sampler(self):
        """The `DDIM` sampler."""
        return DDIM(self.schedule, self.stride, self.eta, self.spacing)

    def build(self):
        """Returns the network."""
        return build_ddpm(
            self.preset,
            blocks=self.blocks,
            num_steps=self.num_steps,
            dropout=self.dropout,
        )

    def trainer(self, model):
        """Returns the graph from an image to the loss, compiled."""
        trainer = build_ddpm_trainer(model, self.schedule, seed=self.seed)
        trainer.compile(
            self._optimizer(), jit_compile=self.jit_compile and has_xla()
        )
        return trainer

    def batches_of_samples(self, model, batch_size):
        """Returns the sampler's batches."""
        return self.sampler.batches(model, batch_size)

    def _optimizer(self):
        rate = cosine_decay(self, min(500, self.steps // 10), alpha=0.02)
        adam = keras.optimizers.Adam(
            rate, use_ema=True, ema_momentum=self.ema_momentum
        )
        return Lookahead(adam, self.sync_period, self.slow_step_size)


RUNS = {
    "ddpm-digits": ImageDiffusion(),
    "ddpm-mnist": ImageDiffusion(
        preset="mnist",
        data="mnist",
        steps=5000,
        batch_size=64,
        steps_per_epoch=100,
        jit_compile=False,
        eta=1.0,  # gives slightly more confident samples than 0
    ),
}
