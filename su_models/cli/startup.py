"""Imports the library for a command, without TensorFlow's start-up lines."""

import contextlib
import os
import re
import sys
import tempfile

# Since TensorFlow 2.17 some information lines are written before its log
# level is read (tensorflow issue 100442). Errors are never among these.
STARTUP_LINE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|[IW]\d{4} \d\d:\d\d:\S+ +\d+ \S+:\d+\] "
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\S+: [IW] "
)


def load_library():
    """Imports Keras and every room of the library, without a word.

    Commands call this first, so that `su-models --help` need not wait.

    Returns:
        The package `su_models`, all its classes registered with Keras.
    """
    package = sys.modules["su_models"]
    with without_startup_lines():
        if not hasattr(package, "__version__"):  # su_models_command.py
            package.__spec__.loader.exec_module(package)
    return package


@contextlib.contextmanager
def without_startup_lines():
    """Holds stderr back and lets through all but the start-up lines.

    Sets `TF_CPP_MIN_LOG_LEVEL` to 3 unless the user has set it; who sets it
    to 0 or 1 wants to read everything, and does.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") in ("0", "1"):
        yield
        return
    sys.stderr.flush()
    # C++ writes to the file descriptor, past `sys.stderr`
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if not STARTUP_LINE.match(line):
                    os.write(2, line)
