"""The sampler of DDPM."""

import numpy as np

from su_models.ops.noise_schedule import check_schedule
from su_models.sampling.base import DiffusionSampler
from su_models.utils.checks import check_choice


class DDPM(DiffusionSampler):
    """Ancestral sampler: visits every step and adds fresh noise in each.

    Article: https://kexue.fm/archives/9119
        《生成扩散模型漫谈（一）：DDPM = 拆楼 + 建楼》
    Article: https://kexue.fm/archives/9164
        《生成扩散模型漫谈（三）：DDPM = 贝叶斯 + 去噪》
    Paper: https://arxiv.org/abs/2006.11239

        x_{t-1} = (x_t - β_t²/β̄_t ε_θ(x_t, t)) / α_t + σ_t z

    This is Eq. (17) of the first article, whose ε_θ is β_t/β̄_t times the
    predicted noise. Its mean is that of Eq. (13) of the third part, which uses
    the posterior deviation.

    Differs: the author's code also adds noise in the last step; here σ_1 = 0.

    Args:
        schedule: a `NoiseSchedule`.
        sigma: `"beta"`, σ_t = β_t, which is exact for standard normal data;
            or `"posterior"`, σ_t = β̄_{t-1}/β̄_t β_t, which is exact for data
            that is a single point.

    Call arguments: see `DiffusionSampler`.

    Example:

    >>> schedule = su_models.sampling.NoiseSchedule.author(10)
    >>> sampler = su_models.sampling.DDPM(schedule)
    >>> x = sampler(lambda x, t: x, keras.random.normal((2, 8, 8, 1)), seed=0)
    >>> tuple(x.shape)
    (2, 8, 8, 1)
    """

    def __init__(self, schedule, sigma="beta"):
        s = check_schedule(schedule)
        self.sigma = check_choice("sigma", sigma, ("beta", "posterior"))
        t = np.arange(s.num_steps, 0, -1)
        deviation = s.beta[t] * (t > 1)
        if sigma == "posterior":
            deviation = deviation * s.bar_beta[t - 1] / s.bar_beta[t]
        coefficients = (
            1 / s.alpha[t],
            s.beta[t] ** 2 / s.bar_beta[t] / s.alpha[t],
            deviation,
        )
        super().__init__(s, t, coefficients)
