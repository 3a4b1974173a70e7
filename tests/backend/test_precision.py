"""Sums in float32, against exact ones and loops in 16 bits."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import compiled, gradient, precision
from su_models.backend.precision import (
    accumulated_einsum,
    accumulated_matmul,
    accumulated_mean,
    accumulated_sum,
    sum_dtype,
)
from tests.contract import to_numpy
from tests.long_sums import assert_accumulated, sum_in

BACKEND = keras.config.backend()
N = 3000
each_half = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
either_way = pytest.mark.parametrize("jit", [False, True])
# shapes whose products take different kernels on TensorFlow's CPUs
each_product = pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("n,n->", [(N,), (N,)]),
        ("an,nc->ac", [(6, N), (N, 5)]),
        ("ban,bnc->bac", [(2, 64, N), (2, N, 16)]),
        ("bhan,bnhd->bahd", [(1, 2, 7, N), (1, N, 2, 3)]),
        ("bchqn,bncqd->bqchd", [(1, 2, 3, 4, N), (1, N, 2, 4, 5)]),
    ],
)


def positive(dtype, *shape):
    """Returns numbers in [1/16, 1/8] that `dtype` holds."""
    x = np.random.default_rng(len(shape)).uniform(1 / 16, 1 / 8, shape)
    return ops.cast(x, dtype)


def exact(x):
    return to_numpy(ops.cast(x, "float32")).astype("float64")


def terms(equation, a, b, over="n"):
    """Returns the products that an einsum adds up, `(n, ...)`."""
    left, right = equation.split("->")
    return np.einsum(f"{left}->{over}{right}", exact(a), exact(b))


def run(function, jit, *args):
    return (compiled(function) if jit else function)(*args)


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [
        ("float16", "float32"),
        ("bfloat16", "float32"),
        ("float32", "float32"),
        ("float64", "float64"),
        ("int32", "float32"),
    ],
)
def test_sums_are_float32_or_wider(dtype, wide):
    assert sum_dtype(dtype) == wide


def test_native_dtypes_are_taken():
    assert sum_dtype(ops.ones(1, "bfloat16").dtype) == "float32"


def test_loop_in_16_bits_stops_growing():
    assert sum_in("float16", np.ones(5000)) == 2048
    assert sum_in("bfloat16", np.ones(5000)) == 256


@each_half
@each_product
@either_way
def test_product_is_accumulated_in_float32(equation, shapes, dtype, jit):
    a, b = (positive(dtype, *shape) for shape in shapes)
    y = run(functools.partial(accumulated_einsum, equation), jit, a, b)
    assert keras.backend.standardize_dtype(y.dtype) == "float32"
    assert_accumulated(exact(y), terms(equation, a, b), dtype)


@each_half
@either_way
def test_gradients_are_accumulated_in_float32(dtype, jit):
    """The sums run over what the result keeps."""
    equation = "ban,bnc->bac"
    a, b = positive(dtype, 2, N, 5), positive(dtype, 2, 5, 4)
    w = positive("float32", 2, N, 4)

    def loss(b):
        return ops.sum(w * accumulated_einsum(equation, a, b))

    g = run(functools.partial(gradient, loss), jit, b)
    assert g.dtype == b.dtype
    # rounded are w, before the product, and the gradient, after it
    products = np.einsum("ban,bac->abnc", exact(a), exact(w))
    assert_accumulated(exact(g), products, dtype, roundings=2)


@each_half
def test_both_operands_have_the_gradients_of_the_plain_product(dtype):
    a, b = positive(dtype, 2, 3, 4), positive(dtype, 2, 4, 5)

    def loss(product, a, b):
        return ops.sum(ops.square(ops.cast(product(a, b), "float32")))

    for k in range(2):
        one, other = (
            gradient(
                lambda x, p=p, k=k: loss(p, *((x, b) if k == 0 else (a, x))),
                (a, b)[k],
            )
            for p in (accumulated_matmul, ops.matmul)
        )
        unit = 2.0 ** (-11 if dtype == "float16" else -8)
        np.testing.assert_allclose(exact(one), exact(other), 4 * unit)


@each_half
def test_gradient_of_a_gradient(dtype):
    x = positive(dtype, 4)

    def square(x):
        return accumulated_einsum("i,i->", x, x)

    def slope(x):  # Σ of 2 x_i, with a gradient of 2
        return ops.sum(ops.cast(gradient(square, x), "float32"))

    np.testing.assert_allclose(exact(gradient(slope, x)), 2.0)


@each_half
def test_result_has_the_wanted_dtype(dtype):
    a, b = positive(dtype, 6, N), positive(dtype, N, 5)
    for wanted in (dtype, "float32"):
        y = accumulated_matmul(a, b, dtype=wanted)
        assert keras.backend.standardize_dtype(y.dtype) == wanted
        assert_accumulated(exact(y), terms("an,nc->ac", a, b), dtype)
    y = accumulated_einsum("an,nc->ac", a, b, dtype=dtype)
    assert keras.backend.standardize_dtype(y.dtype) == dtype


def test_sum_beyond_the_largest_float16_is_right_on_a_cpu():
    if BACKEND == "tensorflow" and precision._has_accelerator():
        pytest.skip("the machine's product has a float16 result")
    x = ops.full((300,), 300.0, "float16")
    if BACKEND == "torch" and x.device.type != "cpu":
        pytest.skip("the machine's product has a float16 result")
    one = ops.ones_like(x)
    assert float(accumulated_einsum("i,i->", x, one)) == 90_000


@each_half
def test_sums_and_means_are_accumulated_in_float32(dtype):
    x = positive(dtype, 4, N)
    for function, count in ((accumulated_sum, 1), (accumulated_mean, N)):
        y = function(x, axis=1, keepdims=True)
        assert keras.backend.standardize_dtype(y.dtype) == "float32"
        assert tuple(y.shape) == (4, 1)
        # no rounding to 16 bits at all: the bound is n float32 units
        part = exact(x).T[..., None] / count
        assert_accumulated(exact(y), part, dtype, roundings=0)
    assert tuple(accumulated_sum(x).shape) == ()


def test_sums_in_float64_stay_float64():
    if BACKEND == "jax":
        pytest.skip("JAX has float64 where it is switched on alone")
    x = ops.ones(3, "float64") + 2.0**-40
    for y in (
        accumulated_sum(x),
        accumulated_mean(x) * 3,
        accumulated_mean(x[None], axis=1, keepdims=True)[0, 0] * 3,
        accumulated_einsum("i,i->", x, ops.ones_like(x)),
        accumulated_einsum("i,i->", x, ops.ones(3, "float32")),
        accumulated_matmul(x, ops.ones(3, "float16"), dtype="float64"),
    ):
        assert float(y) == 3 * (1 + 2.0**-40)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_operands_of_two_dtypes_are_multiplied_in_the_wider(dtype):
    third = ops.full((3,), 1 / 3, "float32")
    y = accumulated_einsum("i,i->", third, ops.ones((3,), dtype))
    assert float(y) == 1.0


def test_symbolic_operands():
    a = keras.Input((N,), dtype="float16")
    b = keras.Input((N,), dtype="float16")
    y = accumulated_einsum("bn,bn->b", a, b)
    assert y.shape == (None,) and y.dtype == "float32"
    values = [positive("float16", 2, N)] * 2
    y = keras.Model([a, b], y)(values)
    assert_accumulated(exact(y), terms("bn,bn->b", *values), "float16")


# ---- what runs


def programs(product, *args):
    """Returns the program of a function, as text or as names of operations."""
    if BACKEND == "jax":
        import jax

        return str(jax.make_jaxpr(product)(*args))
    import tensorflow as tf

    graph = tf.function(product, autograph=False).get_concrete_function(*args)
    return [
        (op.type, [t.dtype.name for t in op.inputs])
        for op in graph.graph.get_operations()
        if op.type not in ("Placeholder", "NoOp", "Identity")
    ]


needs_program = pytest.mark.skipif(
    BACKEND == "torch", reason="PyTorch runs eagerly: there is no program"
)


@needs_program
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_program_in_float32_is_the_plain_one(dtype):
    if dtype == "float64" and BACKEND == "jax":
        pytest.skip("JAX has float64 where it is switched on alone")
    a, b = positive(dtype, 2, 3, 4), positive(dtype, 2, 4, 5)
    equation = "bij,bjk->kib"
    assert programs(
        lambda a, b: accumulated_einsum(equation, a, b), a, b
    ) == programs(lambda a, b: ops.einsum(equation, a, b), a, b)
    assert programs(accumulated_matmul, a, b) == programs(ops.matmul, a, b)
    assert programs(accumulated_sum, a) == programs(ops.sum, a)


@pytest.mark.skipif(BACKEND != "torch", reason="others have a program")
def test_float32_on_pytorch_is_the_plain_product():
    a, b = positive("float32", 20, N), positive("float32", N, 10)
    y = accumulated_einsum("an,nc->ac", a, b)
    np.testing.assert_array_equal(
        to_numpy(y), to_numpy(ops.einsum("an,nc->ac", a, b))
    )


@pytest.mark.skipif(BACKEND != "torch", reason="PyTorch's devices")
def test_only_float16_on_a_cpu_is_copied_on_pytorch():
    import torch

    needs = precision.needs_wide_operands
    cpu, meta = (
        torch.ones(1, dtype=torch.float16, device=device)
        for device in ("cpu", "meta")
    )
    assert needs(cpu, cpu, "float16")
    assert not needs(cpu, cpu, "bfloat16")
    assert not needs(meta, meta, "float16")


@each_half
@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's graphs")
@pytest.mark.parametrize("accelerator", [False, True])
def test_accelerators_multiply_in_16_bits(monkeypatch, accelerator, dtype):
    monkeypatch.setattr(precision, "_has_accelerator", lambda: accelerator)
    a, b = positive(dtype, 2, 3, 4), positive(dtype, 2, 4, 5)

    def slopes(a, b):
        return gradient(lambda a: ops.sum(accumulated_matmul(a, b)), a)

    taken = [types for op, types in programs(slopes, a, b) if "MatMul" in op]
    expected = dtype if accelerator else "float32"
    assert taken == [[expected] * 2] * len(taken)
    assert len(taken) >= 1


@each_half
@pytest.mark.skipif(BACKEND != "jax", reason="JAX compiles for any machine")
@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_accelerators_sum_in_float32_and_multiply_in_16_bits(platform, dtype):
    import jax

    def slopes(a, b):
        return jax.value_and_grad(
            lambda a, b: ops.sum(ops.square(accumulated_matmul(a, b))), (0, 1)
        )(a, b)

    a, b = positive(dtype, 2, 3, 4), positive(dtype, 2, 4, 5)
    exported = jax.export.export(jax.jit(slopes), platforms=[platform])(a, b)
    products = [
        line.rpartition(" : ")[2]
        for line in exported.mlir_module().splitlines()
        if "stablehlo.dot_general" in line
    ]
    kind = {"float16": "f16", "bfloat16": "bf16"}[dtype]
    assert len(products) == 3
    for k, line in enumerate(products):
        operands, result = line.split("->")
        assert operands.count(f"x{kind}>") == 2, line
        assert ("xf32>" in result) == (k == 0), line


@pytest.mark.skipif(BACKEND != "jax", reason="JAX alone has forward mode")
def test_forward_mode_and_a_product_less_for_what_stands_still():
    import jax

    a, b = positive("bfloat16", 3, 4), positive("bfloat16", 4, 5)
    one = jax.jvp(accumulated_matmul, (a, b), (b.T[:3], a.T @ a @ b))
    other = jax.jvp(
        lambda a, b: (a @ b).astype("float32"),
        (a, b),
        (b.T[:3], a.T @ a @ b),
    )
    np.testing.assert_allclose(exact(one[1]), exact(other[1]), 2.0**-7)
    text = str(
        jax.make_jaxpr(jax.grad(lambda a: ops.sum(accumulated_matmul(a, b))))(a)
    )
    assert text.count("dot_general") == 2
