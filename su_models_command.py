"""Entry point of the command `su-models`.

`import su_models` imports Keras, but `su-models --help` must not wait for it.
So this module registers the package without running its `__init__.py`, which
imports all rooms; it runs when a command needs them
(`su_models.cli.startup.load_library`).
"""

import importlib.util
import sys


def main():
    """Runs the command line."""
    if "su_models" not in sys.modules:
        spec = importlib.util.find_spec("su_models")
        sys.modules["su_models"] = importlib.util.module_from_spec(spec)
    from su_models.cli.main import main as command

    command()
