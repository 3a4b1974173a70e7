"""`compiled`: one program, no stale weights, state that advances."""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import compiled, has_xla
from su_models.backend.compile import uncompiled

BACKEND = keras.backend.backend()
TRACED = BACKEND in ("tensorflow", "jax")
needs_jax = pytest.mark.skipif(BACKEND != "jax", reason="jax.export is JAX's")


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


class Counted:
    """A function that counts how often Python runs it."""

    def __init__(self, fn):
        self.fn = fn
        self.runs = 0

    def __call__(self, *args):
        self.runs += 1
        return self.fn(*args)


def test_same_result_as_the_function_itself():
    def fn(pair, scale):
        x, y = pair["x"], pair["y"]
        return {"sum": (x + y) * scale, "both": [x, ops.tanh(y)]}

    pair = {"x": normal(2, 3), "y": normal(3)}
    expected = fn({k: ops.convert_to_tensor(v) for k, v in pair.items()}, 2.0)
    result = compiled(fn)(pair, 2.0)
    assert set(result) == {"sum", "both"}
    for got, want in zip(
        keras.tree.flatten(result), keras.tree.flatten(expected), strict=True
    ):
        np.testing.assert_allclose(
            ops.convert_to_numpy(got), ops.convert_to_numpy(want), atol=1e-6
        )


@pytest.mark.skipif(not TRACED, reason="PyTorch runs eagerly")
def test_traced_once_for_one_shape_whatever_the_values():
    fn = Counted(lambda x, n, flag: ops.where(flag, ops.multiply(x, n), x))
    program = compiled(fn)
    for i in range(4):
        x = normal(2, 3) + i
        y = ops.convert_to_numpy(program(x, i, i % 2 == 0))
        np.testing.assert_allclose(y, x * i if i % 2 == 0 else x, rtol=1e-6)
    program(ops.convert_to_tensor(normal(2, 3)), np.int32(9), True)
    assert fn.runs == 1
    program(normal(2, 4), 1, True)
    assert fn.runs == 2


@pytest.mark.skipif(BACKEND != "tensorflow", reason="asks TensorFlow")
def test_tensorflow_compiles_with_xla():
    program = compiled(ops.det)  # which has no kernel in XLA
    with pytest.raises(Exception, match="XLA_CPU_JIT|XLA compilation|on XLA"):
        program(np.eye(2, dtype="float32"))


@pytest.mark.skipif(not TRACED, reason="PyTorch runs eagerly")
def test_variables_given_beforehand_spare_the_second_trace():
    dense = keras.layers.Dense(2)
    dense.build((None, 3))
    blind, told = Counted(dense), Counted(dense)
    compiled(blind)(normal(4, 3))
    program = compiled(told, lambda: dense.variables)
    program(normal(4, 3))
    program(normal(4, 3))
    assert told.runs == 1
    assert blind.runs == (2 if BACKEND == "jax" else 1)


@pytest.mark.parametrize("given", ["found", "list", "callable"])
def test_new_weights_are_used(given):
    dense = keras.layers.Dense(2, bias_initializer="ones")
    dense.build((None, 3))
    variables = {
        "found": (),
        "list": dense.variables,
        "callable": lambda: dense.variables,
    }[given]
    fn = Counted(dense)
    program = compiled(fn, variables)
    x = normal(4, 3)
    program(x)
    runs = fn.runs
    dense.kernel.assign(normal(3, 2))
    y = ops.convert_to_numpy(program(x))
    np.testing.assert_allclose(y, x @ normal(3, 2) + 1, atol=1e-5)
    if TRACED:
        assert fn.runs == runs


@pytest.mark.parametrize("listed", [True, False])
def test_states_advance_and_are_seen_outside(listed):
    count = keras.Variable(np.zeros(2, "float32"))
    noise = keras.random.SeedGenerator(3)

    def fn(x):
        count.assign_add(x)
        return keras.random.normal((5,), seed=noise) + ops.sum(count)

    variables = [count, noise.state] if listed else ()
    program = compiled(fn, variables)
    x = np.array([1.0, 2.0], "float32")
    first, second = (ops.convert_to_numpy(program(x)) for _ in "12")
    np.testing.assert_allclose(ops.convert_to_numpy(count), [2.0, 4.0])
    np.testing.assert_array_equal(ops.convert_to_numpy(noise.state), [3, 2])
    assert np.abs((first - 3) - (second - 6)).min() > 1e-3
    count.assign(np.zeros(2))
    noise.state.assign([3, 0])
    np.testing.assert_array_equal(ops.convert_to_numpy(program(x)), first)


def test_a_variable_that_is_only_assigned_is_found():
    last = keras.Variable(np.zeros(3, "float32"))
    program = compiled(lambda x: last.assign(x * 2.0))
    for i in range(2):
        program(normal(3) + i)
        y = ops.convert_to_numpy(last)
        np.testing.assert_allclose(y, 2 * (normal(3) + i))


@pytest.mark.skipif(BACKEND != "jax", reason="JAX returns new arrays")
def test_unchanged_variables_are_not_copied():
    kept = keras.Variable(normal(3))
    state = keras.Variable(0.0)

    def fn(x):
        state.assign_add(1.0)
        return x + kept + state

    program = compiled(fn, [kept, state])
    before = kept.value
    program(normal(3))
    assert kept.value is before
    assert float(state.value) == 1.0


def test_a_layer_is_built_by_the_first_call():
    seeds = iter(range(100))

    def initializer(shape, dtype):
        return ops.convert_to_tensor(normal(*shape) + next(seeds), dtype)

    dense = keras.layers.Dense(2, kernel_initializer=initializer)
    program = compiled(dense)
    x = normal(4, 3)
    y = ops.convert_to_numpy(program(x))
    assert dense.built
    kernel = ops.convert_to_numpy(dense.kernel)
    np.testing.assert_allclose(y, x @ kernel, atol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(program(x)), y)


def test_programs_nest():
    weight = keras.Variable(2.0)
    state = keras.Variable(0.0)

    def scale(x):
        state.assign_add(1.0)
        return x * weight

    inner = compiled(scale)
    outer = compiled(lambda x: inner(x) + inner(x + 1.0))
    assert float(outer(3.0)) == 14.0
    assert ops.convert_to_numpy(state) == 2.0
    weight.assign(3.0)
    assert float(outer(3.0)) == 21.0


def test_loops_compile():
    def fn(x, n):
        return ops.while_loop(
            lambda i, x: i < n, lambda i, x: (i + 1, x * 2.0), (0, x)
        )[1]

    program = compiled(fn)
    for n in (5, 3):
        y = ops.convert_to_numpy(program(np.array([1.0, 3.0]), n))
        np.testing.assert_allclose(y, [2**n, 3 * 2**n])


def test_none_and_variables_are_arguments():
    def fn(x, y):
        return x * 2.0 if y is None else x + y, None

    x = keras.Variable(normal(3))
    program = compiled(fn)
    y, nothing = program(x, None)
    assert nothing is None
    np.testing.assert_allclose(ops.convert_to_numpy(y), 2 * normal(3))
    x.assign(normal(3) + 1)
    y, _ = program(x, None)
    np.testing.assert_allclose(ops.convert_to_numpy(y), 2 * normal(3) + 2)


def test_a_variable_that_is_returned_is_a_snapshot():
    x = keras.Variable(normal(3))
    y = compiled(lambda: x)()
    x.assign(np.zeros(3))
    np.testing.assert_array_equal(ops.convert_to_numpy(y), normal(3))


@pytest.mark.skipif(
    BACKEND != "torch", reason="gradients are recorded by torch"
)
def test_no_gradient_is_recorded():
    dense = keras.layers.Dense(2)
    dense.build((None, 3))
    assert dense(normal(4, 3)).requires_grad
    assert not compiled(dense)(normal(4, 3)).requires_grad


@needs_jax
@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_compiles_for_another_machine(platform):
    dense = keras.layers.Dense(2)
    dense.build((None, 3))
    noise = keras.random.SeedGenerator(0)

    def fn(x):
        def step(i, x):
            return dense(x) @ ops.ones((2, 3))

        x = ops.fori_loop(0, 4, step, x)
        return x + keras.random.normal((4, 3), seed=noise)

    exported = compiled(fn).export(normal(4, 3), platforms=[platform])
    assert exported.platforms == (platform,)
    assert exported.out_avals[0].shape == (4, 3)
    text = exported.mlir_module()
    assert "stablehlo.while" in text and "stablehlo.dot_general" in text


@needs_jax
def test_the_exported_program_computes_the_same():
    dense = keras.layers.Dense(2)
    dense.build((None, 3))
    x = normal(4, 3)
    exported = compiled(dense, dense.variables).export(x, platforms=["cpu"])
    result, changes = exported.call([v.value for v in dense.variables], (x,))
    assert changes == {}
    np.testing.assert_allclose(
        result, ops.convert_to_numpy(dense(x)), atol=1e-6
    )


@pytest.mark.skipif(BACKEND == "jax", reason="JAX can")
def test_compiling_for_another_machine_names_the_backend_that_can():
    with pytest.raises(NotImplementedError, match="jax.*Received: backend="):
        compiled(ops.tanh).export(normal(3), platforms=["tpu"])


def test_what_cannot_be_called_is_refused():
    with pytest.raises(ValueError, match="callable. Received: fn=3"):
        compiled(3)


def test_an_error_inside_is_not_hidden():
    def fn(x):
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        compiled(fn)(1.0)


def test_xla_is_on_tensorflow_and_jax():
    expected = {"tensorflow": True, "jax": True, "torch": False}
    assert has_xla() is expected[keras.backend.backend()]


def test_what_is_left_uncompiled_is_the_same_function():
    def square(x):
        return x * x

    assert uncompiled(square)(3.0) == 9.0
    assert TRACED == (uncompiled(square) is square)
