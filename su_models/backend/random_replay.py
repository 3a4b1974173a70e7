"""Replays random numbers that do not come from Keras' variables."""

import contextlib

import keras


def random_state():
    """Returns the state of the backend's own generator, or None.

    On PyTorch a `Dropout` without a seed draws from PyTorch's generators. All
    other random numbers of Keras come from variables.
    """
    if keras.backend.backend() != "torch":
        return None
    import torch

    gpu = torch.cuda.is_initialized()
    return torch.get_rng_state(), torch.cuda.get_rng_state() if gpu else None


@contextlib.contextmanager
def replayed(state):
    """Draws inside from a saved state, and restores the state afterwards.

    Args:
        state: result of `random_state`. None has no effect.
    """
    if state is None:
        yield
        return
    import torch

    cpu, gpu = state
    devices = [] if gpu is None else [torch.cuda.current_device()]
    with torch.random.fork_rng(devices=devices):
        torch.set_rng_state(cpu)
        if gpu is not None:
            torch.cuda.set_rng_state(gpu)
        yield
