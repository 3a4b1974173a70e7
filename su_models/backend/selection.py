"""Which backend runs, for features that some backends lack."""

import keras


def backend_name():
    """Returns the name of the backend, for reports."""
    return keras.backend.backend()


def runs_on(*names):
    """Tells whether the backend is one of the named."""
    return keras.backend.backend() in names


def require_backend(feature, *names):
    """Refuses to go on unless one of the named backends runs.

    Args:
        feature: what needs the backend, the subject of the message.
        *names: backends that have it.

    Raises:
        NotImplementedError: on any other backend.
    """
    if not runs_on(*names):
        raise NotImplementedError(
            f"{feature} needs the backend {' or '.join(names)}. "
            f"Received: backend={keras.backend.backend()}"
        )
