"""The name of the backend, for features that some backends lack."""

import keras


def backend_name():
    """Returns the name of the backend, for reports."""
    return keras.backend.backend()


def runs_on(*names):
    """Tells whether the backend is one of `names`."""
    return keras.backend.backend() in names


def require_backend(feature, *names):
    """Raises an error unless one of the named backends runs.

    Args:
        feature: the feature that needs the backend, for the message.
        *names: backends that have it.

    Raises:
        NotImplementedError: on other backends.
    """
    if not runs_on(*names):
        raise NotImplementedError(
            f"{feature} needs the backend {' or '.join(names)}. "
            f"Received: backend={keras.backend.backend()}"
        )
