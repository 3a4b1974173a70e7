"""Fixtures and settings of all tests and docstring examples."""

import os
import pathlib

# before TensorFlow is imported, to silence its C++ log lines
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import pytest  # noqa: E402

import su_models  # noqa: E402

ROOT = pathlib.Path(__file__).parent

# these hold no tensors of their own, so tests on TensorFlow are enough
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
collect_ignore = ["tests/contract"]  # checks that tests call, not tests


@pytest.fixture(autouse=True)
def _names(doctest_namespace):
    """Defines the names that the examples in docstrings use."""
    doctest_namespace.update(keras=keras, su_models=su_models)


@pytest.fixture(autouse=True)
def _seed():
    """Seeds every test, so that its numbers do not depend on other tests."""
    keras.utils.set_random_seed(0)


def pytest_ignore_collect(collection_path):
    """Skips `BACKENDLESS` on JAX and PyTorch, unless requested by name."""
    if keras.config.backend() != "tensorflow":
        path = collection_path.relative_to(ROOT).as_posix()
        return path in BACKENDLESS or None


def pytest_terminal_summary(terminalreporter):
    """Reports the skipped rooms."""
    if keras.config.backend() != "tensorflow":
        terminalreporter.write_line(
            f"Hold no tensors, so not on {keras.config.backend()}: "
            f"{', '.join(BACKENDLESS)}"
        )


def pytest_collection_modifyitems(items):
    """Skips tests that this machine cannot run, with the reason."""
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
    """Returns the number of devices of the backend other than CPUs."""
    if keras.config.backend() == "torch":
        import torch

        return torch.cuda.device_count()
    return sum("cpu" not in name for name in keras.distribution.list_devices())
