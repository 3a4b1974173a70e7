"""Runs a peer of Keras 2 in a process, and an environment, of its own.

Such peers need `tf_keras`, and break beside Keras 3. Their interpreter is
named by the environment variable SU_MODELS_LEGACY_PYTHON; `make parity` makes
an environment for it (tools/environment.sh says of what) and sets it.
"""

import os
import pathlib
import subprocess

import numpy as np
import pytest

VARIABLE = "SU_MODELS_LEGACY_PYTHON"
FOLDER = pathlib.Path(__file__).parent


def run_legacy(script, folder, **arrays):
    """Runs a script of this folder on arrays, in the legacy environment.

    The script gets two paths, of an `.npz` file with the arrays and of the
    one to write. The test is skipped if there is no such environment, or if
    the script ends with status 77 since its peer is not installed there.

    Args:
        script: its file name.
        folder: where to put the files.
        **arrays: what it is given.

    Returns:
        A dict of the arrays that it wrote.
    """
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(f"peer: {VARIABLE} names no interpreter with tf_keras")
    paths = folder / "given.npz", folder / "returned.npz"
    np.savez(paths[0], **arrays)
    run = subprocess.run(
        [python, FOLDER / script, *paths],
        env={
            **os.environ,
            "TF_USE_LEGACY_KERAS": "1",
            "TF_KERAS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        capture_output=True,
        text=True,
    )
    if run.returncode == 77:
        pytest.skip(f"peer: {run.stderr.strip().splitlines()[-1]}")
    assert run.returncode == 0, run.stderr
    with np.load(paths[1]) as returned:
        return dict(returned)
