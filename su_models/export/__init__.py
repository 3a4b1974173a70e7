"""Export of models to artifacts for other programs."""

from su_models.export.saved_model import export_saved_model

__all__ = [
    "export_saved_model",
]
