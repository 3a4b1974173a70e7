"""Imports the library for a command without TensorFlow's startup lines."""

import contextlib
import os
import re
import sys
import tempfile

# Since TensorFlow 2.17 some information lines are written before its log
# level is read (tensorflow issue 100442). They never contain errors.
STARTUP_LINE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|[IW]\d{4} \d\d:\d\d:\S+ +\d+ \S+:\d+\] "
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\S+: [IW] "
)


def load_library():
    """Imports Keras and every room of the library silently.

    Commands call this function first, so that `su-models --help` need not
    wait for it.

    Returns:
        The package `su_models`, with all classes registered with Keras.
    """
    package = sys.modules["su_models"]
    with without_startup_lines():
        if not hasattr(package, "__version__"):  # su_models_command.py
            package.__spec__.loader.exec_module(package)
    return package


@contextlib.contextmanager
def without_startup_lines():
    """Removes TensorFlow's startup lines from stderr.

    Sets `TF_CPP_MIN_LOG_LEVEL` to 3 unless the user has set it; if the user
    sets it to 0 or 1, all lines are shown.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") in ("0", "1"):
        yield
        return
    sys.stderr.flush()
    # C++ writes to the file descriptor instead of `sys.stderr`
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
