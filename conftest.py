"""What every test and every docstring example may rely on."""

import os
import pathlib

# before TensorFlow is imported: its C++ log lines are not about our tests
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import pytest  # noqa: E402

import su_models  # noqa: E402

ROOT = pathlib.Path(__file__).parent

# these hold no tensors of their own: the tests on TensorFlow are enough
BACKENDLESS = (
    "su_models/cli",
    "su_models/data",
    "su_models/text",
    "tests/benchmarks",
    "tests/cli",
    "tests/data",
    "tests/examples",
    "tests/test_architecture.py",
    "tests/test_docs.py",
    "tests/test_readme.py",
    "tests/text",
    "tests/tools",
)

pytest_plugins = ["tools.room_times"]
pytest.register_assert_rewrite("tests.contract")
collect_ignore = ["tests/contract"]  # checks that tests call, no tests


@pytest.fixture(autouse=True)
def _names(doctest_namespace):
    """Names that the examples in docstrings may use."""
    doctest_namespace.update(keras=keras, su_models=su_models)


@pytest.fixture(autouse=True)
def _seed():
    """Every test draws the same numbers, alone or after others."""
    keras.utils.set_random_seed(0)


def pytest_ignore_collect(collection_path):
    """Leaves out `BACKENDLESS` on JAX and PyTorch, unless asked by name."""
    if keras.config.backend() != "tensorflow":
        path = collection_path.relative_to(ROOT).as_posix()
        return path in BACKENDLESS or None


def pytest_terminal_summary(terminalreporter):
    """Says what was left out."""
    if keras.config.backend() != "tensorflow":
        terminalreporter.write_line(
            f"Hold no tensors, so not on {keras.config.backend()}: "
            f"{', '.join(BACKENDLESS)}"
        )


def pytest_collection_modifyitems(items):
    """Skips what this machine cannot run, and says why."""
    absent = {}
    if not os.environ.get("SU_MODELS_DATA"):
        absent["data"] = "SU_MODELS_DATA is not set"
    if any(item.get_closest_marker("gpu") for item in items):
        if not _accelerators():
            absent["gpu"] = f"{keras.config.backend()} sees no accelerator"
    for item in items:
        for name, reason in absent.items():
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))


def _accelerators():
    """Returns how many devices other than a CPU the backend sees."""
    if keras.config.backend() == "torch":
        import torch

        return torch.cuda.device_count()
    return sum("cpu" not in name for name in keras.distribution.list_devices())
