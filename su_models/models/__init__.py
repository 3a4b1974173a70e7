"""Builders that compose layers into models, one file per family."""

from su_models.models.ddpm import build_ddpm, build_ddpm_trainer
from su_models.models.decoding.endpoint import generate_endpoint
from su_models.models.decoding.generate import generate
from su_models.models.transformer.build import build_transformer_model
from su_models.models.vae import build_vae, build_vae_trainer

__all__ = [
    "build_ddpm",
    "build_ddpm_trainer",
    "build_transformer_model",
    "build_vae",
    "build_vae_trainer",
    "generate",
    "generate_endpoint",
]
