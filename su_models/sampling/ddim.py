"""The sampler of DDIM."""

import numbers

import numpy as np

from su_models.sampling.sampler import Sampler
from su_models.utils.checks import is_integer


class DDIM(Sampler):
    """Sampling that may skip steps and may do without fresh noise.

    Article: https://kexue.fm/archives/9181
        《生成扩散模型漫谈（四）：DDIM = 高观点DDPM》
    Paper: https://arxiv.org/abs/2010.02502

    From step t to an earlier t', with a = ᾱ_t/ᾱ_{t'}:

        x_{t'} = (x_t - (β̄_t - a √(β̄_{t'}² - σ²)) ε_θ(x_t, t)) / a + σ z
                                                                    Eq. (13)
        σ = η β̄_{t'}/β̄_t √(1 - a²)                         η times Eq. (14)

    η = 0 is deterministic, an Euler step of an ODE; η = 1 is DDPM with the
    posterior deviation. The last jump goes to the clean data, ᾱ = 1, where
    σ is 0.

    Fewer steps give smoother samples: of data N(0, 1), with
    `NoiseSchedule.author(1000)` and η = 0, stride 100 returns the variance
    0.69 with leading spacing.

    Args:
        schedule: a `NoiseSchedule` with T steps.
        stride: int in 1, ..., T. Every stride-th step is visited.
        eta: float >= 0. η; so large that σ exceeds β̄_{t'} is refused.
        spacing: `"leading"`, the author's: t = ..., 1 + 2s, 1 + s, 1, which
            begins below T; or `"trailing"`: t = T, T - s, T - 2s, ...

    Call arguments: see `Sampler`.

    Example:

    >>> schedule = su_models.sampling.NoiseSchedule.author(1000)
    >>> sampler = su_models.sampling.DDIM(schedule, stride=250)
    >>> sampler.times.tolist()
    [751, 501, 251, 1]
    """

    def __init__(self, schedule, stride=1, eta=0.0, spacing="leading"):
        num_steps = schedule.num_steps
        if not is_integer(stride) or not 1 <= stride <= num_steps:
            raise ValueError(
                f"`stride` must be an integer in 1, ..., T = {num_steps}. "
                f"Received: stride={stride}"
            )
        if not isinstance(eta, numbers.Real) or not 0 <= eta < np.inf:
            raise ValueError(
                "`eta` must be a number, not negative and finite. "
                f"Received: eta={eta!r}"
            )
        if spacing not in ("leading", "trailing"):
            raise ValueError(
                '`spacing` must be "leading" or "trailing". '
                f"Received: spacing={spacing}"
            )
        self.stride = int(stride)
        self.eta = eta
        self.spacing = spacing
        super().__init__(schedule)

    def steps(self):
        num_steps = self.schedule.num_steps
        if self.spacing == "trailing":
            return np.arange(num_steps, 0, -self.stride)
        return np.arange(1, num_steps + 1, self.stride)[::-1]

    def coefficients(self):
        s, t = self.schedule, self.times
        earlier = np.append(t[1:], 0)
        a = s.bar_alpha[t] / s.bar_alpha[earlier]
        sigma = self.eta * s.bar_beta[earlier] / s.bar_beta[t]
        sigma = sigma * np.sqrt(1 - a**2)
        rest = s.bar_beta[earlier] ** 2 - sigma**2
        if (rest < 0).any():
            raise ValueError(
                "`eta` is so large that a step adds more noise than its "
                f"target has. Received: eta={self.eta}"
            )
        return 1 / a, (s.bar_beta[t] - a * np.sqrt(rest)) / a, sigma
