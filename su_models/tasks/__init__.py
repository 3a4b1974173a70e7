"""A task joins data, model, training and sampling into a run folder."""

from su_models.tasks.image_diffusion import ImageDiffusion

__all__ = ["ImageDiffusion"]
