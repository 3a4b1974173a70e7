"""Weights in and out: Google's and bert4keras', Hugging Face's, llama2.c's."""

from su_models.checkpoints.convert_checkpoint import convert_checkpoint
from su_models.checkpoints.load_checkpoint import load_checkpoint
from su_models.checkpoints.open_checkpoint import open_checkpoint
from su_models.checkpoints.save_checkpoint import save_checkpoint

__all__ = [
    "convert_checkpoint",
    "load_checkpoint",
    "open_checkpoint",
    "save_checkpoint",
]
