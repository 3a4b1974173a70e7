"""The dtype in which long sums are accumulated, and sums that use it.

float16 and bfloat16 have 11 and 8 bits of precision. A running sum of n equal
terms stops growing once it is 2 ** bits times a term, and float16 ends at
65504. So long sums are accumulated in float32, or in the dtype of the terms if
it is wider, on every processor.

A native product of float16 or bfloat16 operands is as good if the terms are
accumulated in float32 and only the result is rounded. This is the case on GPUs
and TPUs, where it is also much faster, everywhere under XLA, and in PyTorch.
It is not the case for TensorFlow on CPUs: Eigen sums in the operands' dtype,
and whether oneDNN is used depends on shapes and on the processor.
"""

import functools

import keras
from keras import ops

from su_models.backend.selection import runs_on

_HALF = "float16", "bfloat16"


def sum_dtype(dtype):
    """Returns the dtype in which terms of a dtype are accumulated.

    Args:
        dtype: string or dtype of the terms.

    Returns:
        `"float64"` for float64, `"float32"` for all other dtypes.

    Example:

    >>> from su_models.backend.precision import sum_dtype
    >>> sum_dtype("bfloat16"), sum_dtype("float64")
    ('float32', 'float64')
    """
    wide = keras.backend.standardize_dtype(dtype) == "float64"
    return "float64" if wide else "float32"


def accumulated_sum(x, axis=None, keepdims=False):
    """Returns `ops.sum` in `sum_dtype` of the dtype of `x`."""
    x = ops.cast(x, sum_dtype(x.dtype))
    return ops.sum(x, axis=axis, keepdims=keepdims)


def accumulated_mean(x, axis=None, keepdims=False):
    """Returns `ops.mean` in `sum_dtype` of the dtype of `x`."""
    wide = sum_dtype(x.dtype)
    x = ops.cast(x, wide)
    if wide == "float32":
        return ops.mean(x, axis=axis, keepdims=keepdims)
    # Keras on PyTorch computes means and quotients in float32
    total = ops.sum(x, axis=axis, keepdims=keepdims)
    size, of_total = (ops.cast(ops.size(y), wide) for y in (x, total))
    return total / (size / of_total)


def accumulated_einsum(equation, a, b, dtype=None):
    """Returns `ops.einsum(equation, a, b)`, accumulated in `sum_dtype`.

    Its gradients are accumulated in the same way. In float32 and float64 it
    is `ops.einsum` itself. With operands in float16 or bfloat16 the result
    is exact except for

    * the rounding of the sum in float32, on JAX, on TensorFlow with a CPU,
      and for float16 on PyTorch with a CPU: sums beyond 65504 are correct;
    * one rounding to the operands' dtype elsewhere, where native products
      have no wider result. There the result itself must fit into this dtype.

    Gradients are rounded to the operands' dtype once or twice.

    Args:
        equation: string, the sum over the products of two operands.
        a: floats.
        b: floats. If the dtypes differ, both are cast to a common one.
        dtype: dtype of the result. Defaults to that of the accumulation.

    Returns:
        A tensor.

    Example:

    >>> from su_models.backend.precision import accumulated_einsum
    >>> ones = keras.ops.ones(4096, "bfloat16")
    >>> float(accumulated_einsum("i,i->", ones, ones))
    4096.0
    """
    return _accumulated("einsum", (equation,), a, b, dtype)


def accumulated_matmul(a, b, dtype=None):
    """Returns `ops.matmul(a, b)`, accumulated as in `accumulated_einsum`."""
    return _accumulated("matmul", (), a, b, dtype)


def _accumulated(name, args, a, b, dtype):
    """Returns `ops.<name>(*args, a, b)` in `dtype`, or in `sum_dtype`."""
    dtypes = {keras.backend.standardize_dtype(x.dtype) for x in (a, b)}
    narrow = keras.backend.result_type(*dtypes)
    if "float64" in dtypes:  # Keras on PyTorch would cast it to float32
        narrow = "float64"
    wide = sum_dtype(narrow)
    dtype = keras.backend.standardize_dtype(dtype or wide)
    if len(dtypes) > 1:
        a, b = (ops.cast(x, narrow) for x in (a, b))
    product = functools.partial(_function(name, narrow), *args)
    if narrow not in _HALF:
        y = product(a, b)
        return y if dtype == wide else ops.cast(y, dtype)
    if needs_wide_operands(a, b, narrow):
        y = product(ops.cast(a, wide), ops.cast(b, wide))
    elif runs_on("jax") and dtype == wide:
        return _with_wide_result(name, args, wide)(a, b)
    else:
        y = product(a, b)
    return ops.cast(y, dtype)


def _function(name, dtype):
    """Returns `ops.<name>`, or a version that keeps float64 on PyTorch."""
    if dtype == "float64" and runs_on("torch"):
        import torch

        return getattr(torch, name)
    return getattr(ops, name)


def needs_wide_operands(a, b, dtype):
    """Tells whether a product of 16-bit floats may be summed in 16 bits.

    Args:
        a: tensor, the first operand.
        b: tensor, the second operand.
        dtype: name of their common dtype.
    """
    if dtype not in _HALF:
        return False
    if any(isinstance(x, keras.KerasTensor) for x in (a, b)):
        return True  # a Keras graph, which may run on any device
    if runs_on("tensorflow"):
        return not _has_accelerator()
    # PyTorch sums in float32, but a sum beyond 65504 would not fit
    return runs_on("torch") and dtype == "float16" and a.device.type == "cpu"


def fused_needs_wide_operands(a, b, dtype):
    """Tells whether a fused attention kernel needs wide operands.

    It does if `needs_wide_operands` says so, and also in float16 for JAX
    (0.10) on CPUs, which fails to compile fused attention.

    Args:
        a: tensor, the queries.
        b: tensor, the values.
        dtype: name of their common dtype.
    """
    if needs_wide_operands(a, b, dtype):
        return True
    if not runs_on("jax") or dtype != "float16":
        return False
    import jax

    return jax.default_backend() == "cpu"


def _has_accelerator():
    """Tells whether TensorFlow has devices other than CPUs."""
    import tensorflow as tf

    # of the whole process, since a graph is traced before it is placed
    return any(d.device_type != "CPU" for d in tf.config.list_logical_devices())


def _with_wide_result(name, args, dtype):
    """Returns JAX's product of 16-bit operands with a float32 result.

    A plain `preferred_element_type` would pass the float32 gradient of the
    result to the products of the backward pass, which would cast the other
    operand to float32 and not use tensor cores. The derivative defined here
    is that of the plain product, whose gradients have the operands' dtype.
    """
    import jax

    narrow = functools.partial(getattr(jax.numpy, name), *args)

    @jax.custom_jvp
    def product(a, b):
        return narrow(a, b, preferred_element_type=dtype)

    def derivative(primals, tangents):
        (a, b), (da, db) = primals, tangents
        pairs = ((da, b), (a, db))
        moved = [  # an operand without a tangent needs no product
            narrow(x, y).astype(dtype)
            for (x, y), d in zip(pairs, tangents, strict=True)
            if not isinstance(d, jax.custom_derivatives.SymbolicZero)
        ]
        y = product(a, b)
        return y, sum(moved[1:], moved[0]) if moved else jax.numpy.zeros_like(y)

    product.defjvp(derivative, symbolic_zeros=True)
    return product
