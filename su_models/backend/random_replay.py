"""Draws the same random numbers again, where Keras keeps no state of them."""

import contextlib

import keras


def random_state():
    """Returns the state of a generator that is the backend's own, or None.

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
    """Draws inside as after `random_state()`, and outside as if not inside.

    Args:
        state: what `random_state` returned. None does nothing.
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
