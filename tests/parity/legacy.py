"""Runs a peer in a process, and an environment, of its own.

Peers of Keras 2 need `tf_keras`, and break beside Keras 3. Two of Keras 3,
bert4keras3 and keras-hub, are there too: one replaces modules, the other is
installed without the packages that its models do not need. Their interpreter
is named by the environment variable SU_MODELS_LEGACY_PYTHON; `make parity`
makes an environment for it (tools/environment.sh says of what) and sets it.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess

import filelock
import numpy as np
import pytest

VARIABLE = "SU_MODELS_LEGACY_PYTHON"
FOLDER = pathlib.Path(__file__).parent


def run_legacy(script, folder, keep=True, **arrays):
    """Runs a script of this folder on arrays, in the legacy environment.

    The script gets two paths, of an `.npz` file with the arrays and of the
    one to write. The test is skipped if there is no such environment, or if
    the script ends with status 77 since its peer is not installed there.

    What it wrote is kept in the peers' environment, so that one run serves all
    workers and backends until the script, the arrays or a package changes.

    Args:
        script: its file name.
        folder: where to put the files.
        keep: whether its result may be that of an earlier run. False for a
            script that reads or writes other files.
        **arrays: what it is given.

    Returns:
        A dict of the arrays that it wrote.
    """
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(f"peer: {VARIABLE} names no interpreter with tf_keras")
    if not keep:
        with np.load(_run(python, script, folder, arrays)) as returned:
            return dict(returned)
    kept = _kept(python, script, arrays)
    with filelock.FileLock(f"{kept}.lock"):
        if not kept.exists():
            part = kept.with_suffix(".part")
            shutil.copyfile(_run(python, script, folder, arrays), part)
            part.replace(kept)
    with np.load(kept) as returned:
        return dict(returned)


def _kept(python, script, arrays):
    """Returns the path of what a script makes of arrays."""
    root = pathlib.Path(python).parent.parent
    packages = sorted(p.name for p in root.glob("lib/*/*-packages/*.dist-info"))
    key = hashlib.sha256(repr(packages).encode())
    key.update((FOLDER / script).read_bytes())
    for name, array in sorted(arrays.items()):
        array = np.ascontiguousarray(array)
        key.update(f"{name} {array.dtype} {array.shape} ".encode())
        key.update(array.tobytes())
    folder = root / ".su_models" / "peers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{key.hexdigest()}.npz"


def _run(python, script, folder, arrays):
    """Runs a script; returns the path of the file that it wrote."""
    given, written = folder / "given.npz", folder / "returned.npz"
    np.savez(given, **arrays)
    run = subprocess.run(
        [python, FOLDER / script, given, written],
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
    return written
