"""The sampler of DDIM."""

import numpy as np

from su_models.ops.noise_schedule import check_schedule
from su_models.sampling.base import DiffusionSampler
from su_models.utils.checks import (
    check_choice,
    check_integer,
    check_not_negative,
)


class DDIM(DiffusionSampler):
    """Sampler that can skip steps and can omit the fresh noise.

    Article: https://kexue.fm/archives/9181
        《生成扩散模型漫谈（四）：DDIM = 高观点DDPM》
    Paper: https://arxiv.org/abs/2010.02502

    From step t to an earlier t', with a = ᾱ_t/ᾱ_{t'}:

        x_{t'} = (x_t - (β̄_t - a √(β̄_{t'}² - σ²)) ε_θ(x_t, t)) / a + σ z
                                                                    Eq. (13)
        σ = η β̄_{t'}/β̄_t √(1 - a²)                         η times Eq. (14)

    η = 0 is deterministic, an Euler step of an ODE; η = 1 is DDPM with the
    posterior deviation. The last step returns clean data, ᾱ = 1, with σ = 0.

    Fewer steps give smoother samples: for data from N(0, 1),
    `NoiseSchedule.author(1000)`, η = 0 and leading spacing, samples with
    stride 100 have the variance 0.69.

    Args:
        schedule: a `NoiseSchedule` with T steps.
        stride: int in 1, ..., T. Every stride-th step is visited.
        eta: float >= 0, η. It is limited by σ <= β̄_{t'}.
        spacing: `"leading"`, the author's: t = ..., 1 + 2s, 1 + s, 1, which
            starts below T; or `"trailing"`: t = T, T - s, T - 2s, ...

    Call arguments: see `DiffusionSampler`.

    Example:

    >>> schedule = su_models.sampling.NoiseSchedule.author(1000)
    >>> sampler = su_models.sampling.DDIM(schedule, stride=250)
    >>> sampler.times.tolist()
    [751, 501, 251, 1]
    """

    def __init__(self, schedule, stride=1, eta=0.0, spacing="leading"):
        num_steps = check_schedule(schedule).num_steps
        self.stride = check_integer("stride", stride, least=1, most=num_steps)
        self.eta = check_not_negative("eta", eta)
        self.spacing = check_choice("spacing", spacing, ("leading", "trailing"))
        if spacing == "trailing":
            times = np.arange(num_steps, 0, -self.stride)
        else:
            times = np.arange(1, num_steps + 1, self.stride)[::-1]
        super().__init__(schedule, times, self._coefficients(schedule, times))

    def _coefficients(self, s, t):
        earlier = np.append(t[1:], 0)
        a = s.bar_alpha[t] / s.bar_alpha[earlier]
        sigma = self.eta * s.bar_beta[earlier] / s.bar_beta[t]
        sigma = sigma * np.sqrt(1 - a**2)
        rest = s.bar_beta[earlier] ** 2 - sigma**2
        if (rest < 0).any():
            raise ValueError(
                "`eta` must not be so large that a step adds more noise than "
                f"its target has. Received: eta={self.eta}"
            )
        return 1 / a, (s.bar_beta[t] - a * np.sqrt(rest)) / a, sigma
