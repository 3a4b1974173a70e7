"""The noise schedule of a diffusion."""

import keras
import numpy as np

from su_models.utils.checks import (
    check_not_negative,
    check_numbers,
    check_size,
)


@keras.saving.register_keras_serializable(package="su_models")
class NoiseSchedule:
    """The constants of a diffusion with T steps, in float64.

    Article: https://kexue.fm/archives/9119
        《生成扩散模型漫谈（一）：DDPM = 拆楼 + 建楼》
    Paper: https://arxiv.org/abs/2006.11239

    One step multiplies the signal by α_t and adds noise of size β_t; t steps
    together multiply it by ᾱ_t and add noise of size β̄_t:

        x_t = α_t x_{t-1} + β_t ε_t,   α_t² + β_t² = 1               Eq. (3)
        x_t = ᾱ_t x_0 + β̄_t ε,   ᾱ_t = α_1 ... α_t, ᾱ_t² + β̄_t² = 1  Eq. (6)

    The β of the paper (and of `diffusers`) is the square of this β_t, and its
    ᾱ is the square of this ᾱ_t.

    Args:
        alphas: T numbers in (0, 1): α_1, ..., α_T. 1 is excluded: a first
            step without noise has β̄_1 = 0, by which samplers divide.

    Attributes:
        num_steps: int. T.
        alpha, beta, bar_alpha, bar_beta: float64 arrays `(T + 1,)`. Entry t
            belongs to step t; entry 0 is the clean data: 1, 0, 1, 0.

    Raises:
        ValueError: if `alphas` is empty, not finite or outside (0, 1).

    Example:

    >>> schedule = su_models.sampling.NoiseSchedule.author(1000)
    >>> print(f"{schedule.bar_alpha[1000]:.6f}")
    0.006482
    """

    def __init__(self, alphas):
        alphas = check_numbers("alphas", alphas)
        if alphas.ndim != 1 or not alphas.size:
            raise ValueError(
                "`alphas` must be a sequence of at least one number. "
                f"Received: shape={alphas.shape}"
            )
        if not ((alphas > 0) & (alphas < 1)).all():
            raise ValueError(
                "Each of `alphas` must be in (0, 1), both excluded. "
                f"Received: min={alphas.min()}, max={alphas.max()}"
            )
        self.num_steps = len(alphas)
        self.alpha = np.concatenate([[1.0], alphas])
        self.beta = np.sqrt(1 - self.alpha**2)
        self.bar_alpha = np.cumprod(self.alpha)
        self.bar_beta = np.sqrt(1 - self.bar_alpha**2)

    @classmethod
    def author(cls, num_steps=1000):
        """Creates the author's schedule, α_t = √(1 - 0.02 t/T), Eq. (18)."""
        num_steps = check_size("num_steps", num_steps)
        steps = np.arange(1, num_steps + 1)
        return cls(np.sqrt(1 - 0.02 * steps / num_steps))

    @classmethod
    def cosine(cls, num_steps=1000, offset=0.008):
        """Creates the schedule ᾱ_t = f(t)/f(0) of arXiv:2102.09672.

            f(t) = cos(π/2 · (t/T + s)/(1 + s))

        The noise of a step is capped at β_t² = 0.999, as in that paper. Only
        the last step, where f(T) = 0, reaches the cap.

        Args:
            num_steps: int >= 1. T.
            offset: float >= 0, s.
        """
        num_steps = check_size("num_steps", num_steps)
        offset = check_not_negative("offset", offset)
        steps = np.arange(num_steps + 1)
        bar = np.cos(np.pi / 2 * (steps / num_steps + offset) / (1 + offset))
        return cls.from_betas(np.minimum(1 - (bar[1:] / bar[:-1]) ** 2, 0.999))

    @classmethod
    def from_betas(cls, betas):
        """Creates a schedule from the paper's betas, the variances β_t²."""
        betas = check_numbers("betas", betas)
        if not ((betas > 0) & (betas < 1)).all():
            raise ValueError(
                "Each of `betas` must be in (0, 1), both excluded. "
                f"Received: min={betas.min()}, max={betas.max()}"
            )
        return cls(np.sqrt(1 - betas))

    def get_config(self):
        return {"alphas": self.alpha[1:].tolist()}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def check_schedule(schedule):
    """Returns `schedule`, or raises.

    Raises:
        ValueError: if it is not a `NoiseSchedule`.
    """
    if not isinstance(schedule, NoiseSchedule):
        raise ValueError(
            "`schedule` must be a `su_models.sampling.NoiseSchedule`. "
            f"Received: schedule={schedule!r}"
        )
    return schedule
