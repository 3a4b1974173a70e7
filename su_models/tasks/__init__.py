"""Tasks, which combine data, a model, its training and its use."""

from su_models.tasks.image_diffusion import ImageDiffusion
from su_models.tasks.image_vae import ImageVAE
from su_models.tasks.poem_writing import PoemWriting
from su_models.tasks.registry import find_task, load_task, task_names

__all__ = [
    "ImageDiffusion",
    "ImageVAE",
    "PoemWriting",
    "find_task",
    "load_task",
    "task_names",
]
