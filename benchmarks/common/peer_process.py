"""A peer in a process, and perhaps an environment, of its own.

Parent and child exchange lines of JSON. This module imports only the standard
library, since the child may lack all others.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
VARIABLE = "SU_MODELS_LEGACY_PYTHON"
LEGACY = {"TF_KERAS": "1", "TF_USE_LEGACY_KERAS": "1"}


class PeerProcess:
    """Runs a module of this repository and asks it.

    Args:
        python: path of the interpreter.
        module: name of the module, whose `__main__` calls `serve`.
        environment: optional dict of further environment variables.
    """

    def __init__(self, python, module, environment=None):
        self.module = module
        self._process = subprocess.Popen(
            [python, "-m", module],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "TF_CPP_MIN_LOG_LEVEL": "3",
                **(environment or {}),
            },
        )

    def ask(self, call, **arguments):
        """Calls a method of the object that the child serves.

        Returns:
            What the method returns.

        Raises:
            SystemExit: if the child has ended.
        """
        line, answer = json.dumps([call, arguments]), ""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"The process of {self.module} has ended.")
        return json.loads(answer)

    def close(self):
        """Ends the process."""
        with (
            contextlib.suppress(BrokenPipeError),
            self._process,  # closes the pipes and waits
        ):
            pass


def serve(served):
    """Answers requests from standard input until it ends.

    Args:
        served: object whose methods are called. What they print goes to
            standard error.
    """
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        call, arguments = json.loads(line)
        answer = getattr(served, call)(**arguments)
        print(json.dumps(answer), file=out, flush=True)


def legacy_python():
    """Returns the path of the interpreter that has bert4keras.

    Raises:
        SystemExit: if there is none.
    """
    python = os.environ.get(VARIABLE)
    if not python:
        raise SystemExit(
            f"{VARIABLE} must name an interpreter with bert4keras "
            "(`make parity` prepares one). Received: none"
        )
    return python
