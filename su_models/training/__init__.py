"""What wraps `fit`: the same model, trained with another loss."""

__all__ = []
