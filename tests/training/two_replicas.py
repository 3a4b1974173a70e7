"""Scripts under `tf.distribute`, with two logical CPUs."""

import subprocess
import sys

import keras
import pytest

_BEFORE = """
import keras, numpy as np, tensorflow as tf

cpus = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], cpus
)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
"""

needs_replicas = pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="tf.distribute"
)


def run_on_two_replicas(script):
    """Runs it in a process of its own: devices are set before all else."""
    run = subprocess.run(
        [sys.executable, "-c", _BEFORE + script],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
