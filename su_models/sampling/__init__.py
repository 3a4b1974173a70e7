"""Noise schedules and samplers, whose loops are compiled programs."""

from su_models.ops.noise_schedule import NoiseSchedule
from su_models.sampling.ddim import DDIM
from su_models.sampling.ddpm import DDPM
from su_models.sampling.langevin import Langevin
from su_models.sampling.wasserstein_flow import WassersteinFlow

__all__ = [
    "DDIM",
    "DDPM",
    "Langevin",
    "NoiseSchedule",
    "WassersteinFlow",
]
