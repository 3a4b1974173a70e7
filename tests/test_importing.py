"""Importing the library registers its classes, and does nothing else."""

import os
import pathlib
import subprocess
import sys

import keras

ROOT = pathlib.Path(__file__).parent.parent

IMPORTING = """
import sys
import numpy
import keras
before = set(sys.modules)
state = numpy.random.get_state()[1].tolist()
policy = keras.config.dtype_policy().name
import su_models
added = {name.split(".")[0] for name in set(sys.modules) - before}
assert not added & {"tensorflow", "jax", "torch"}, added
assert state == numpy.random.get_state()[1].tolist()
assert policy == keras.config.dtype_policy().name
if keras.backend.backend() == "jax":
    assert not {"tensorflow", "torch"} & set(sys.modules)
for room in ("layers", "losses", "optimizers", "regularizers", "training"):
    for name in getattr(getattr(su_models, room, None), "__all__", []):
        registered = keras.saving.get_registered_object(f"su_models>{name}")
        assert registered is getattr(getattr(su_models, room), name), name
"""


def test_importing_registers_and_does_nothing_else():
    run = subprocess.run(
        [sys.executable, "-c", IMPORTING],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": keras.config.backend()},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
