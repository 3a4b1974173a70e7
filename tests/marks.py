"""Marks of tests that some backends skip."""

import keras
import pytest

needs_float64 = pytest.mark.skipif(
    keras.config.backend() == "jax",
    reason="JAX has float64 where it is switched on alone",
)
only_tensorflow = pytest.mark.skipif(
    keras.config.backend() != "tensorflow",
    reason="sizes are known when the other backends trace",
)
