"""From noise to data: schedules and samplers, each loop one program."""

from su_models.sampling.ddim import DDIM
from su_models.sampling.ddpm import DDPM
from su_models.sampling.noise_schedule import NoiseSchedule

__all__ = [
    "DDIM",
    "DDPM",
    "NoiseSchedule",
]
