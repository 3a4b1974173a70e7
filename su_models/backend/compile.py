"""Compilation of functions on every backend."""

import functools

import keras
from keras import ops

from su_models.backend.recording_scope import RecordingScope


def compiled(fn, variables=()):
    """Compiles a function of tensors into one program.

    On TensorFlow it uses `tf.function` with XLA, on JAX `jax.jit`; on PyTorch
    it calls the function itself, without recording gradients.

    On every backend, the next call uses the current values of Keras
    variables, and variables that `fn` assigns (states of random generators,
    moving averages) are assigned. On JAX the variables must therefore be
    arguments of the program: those in `variables` are from the start, others
    are found while tracing, which requires a second trace.

    Arguments are positional: nested lists, tuples and dicts of tensors,
    arrays, numbers, Keras variables and None. All numbers become tensors
    (int32, float32, bool), so that a new value does not trace or compile
    again, whereas a new shape or dtype does. Pass values that must be Python
    values inside in a closure.

    Args:
        fn: a function of tensors that returns nested tensors.
        variables: optional list of the Keras variables that `fn` uses, or a
            function without arguments that returns it.

    Returns:
        A callable with the signature of `fn`. On JAX its method
        `export(*args, platforms=["tpu"])` compiles for other machines.

    Example:

    >>> add = su_models.backend.compiled(lambda x, y: x + y)
    >>> float(add(1.0, 2.0))
    3.0
    """
    return _Compiled(fn, variables)


def has_xla():
    """Tells whether `jit_compile=True` uses XLA: on TensorFlow and JAX.

    Use it in `compile(jit_compile=has_xla())`: Keras' `"auto"` does not use
    XLA on TensorFlow without accelerators, and PyTorch has no XLA.
    """
    return keras.backend.backend() in ("tensorflow", "jax")


def uncompiled(fn):
    """Returns a function that PyTorch excludes from compilation.

    `torch.compile` does not support second derivatives of compiled code.
    TensorFlow and JAX do; on these, returns `fn` itself.

    Args:
        fn: any function.

    Returns:
        A function like `fn`.
    """
    if keras.backend.backend() != "torch":
        return fn
    import torch

    return torch.compiler.disable(fn)


class _Compiled:
    """The result of `compiled`."""

    def __init__(self, fn, variables=()):
        if not callable(fn):
            raise ValueError(f"`fn` must be callable. Received: fn={fn}")
        functools.update_wrapper(self, fn, updated=())

        def tensors(*args):
            return keras.tree.map_structure(_to_tensor, fn(*args))

        self._fn = tensors
        self._variables = variables
        self._found = {}  # JAX: further variables that fn uses, by id
        self._programs = {}  # JAX: jitted functions by ids of variables
        call = {"tensorflow": self._tensorflow, "jax": self._jax}
        self._call = call.get(keras.backend.backend(), self._torch)()

    def __call__(self, *args):
        return self._call(*keras.tree.map_structure(_to_tensor, args))

    def export(self, *args, platforms):
        """Compiles for other machines, on JAX only.

        Args:
            *args: examples of the arguments of the function.
            platforms: list of `"cpu"`, `"cuda"`, `"rocm"`, `"tpu"`.

        Returns:
            A `jax.export.Exported` of a function of a list of the variables'
            values and of a tuple of the arguments.

        Raises:
            NotImplementedError: on a backend other than JAX.
        """
        if keras.backend.backend() != "jax":
            raise NotImplementedError(
                "Compiling for another platform needs the jax backend. "
                f"Received: backend={keras.backend.backend()}"
            )
        import jax

        def lower(program, values, args):
            return jax.export.export(program, platforms=platforms)(values, args)

        args = keras.tree.map_structure(_to_tensor, args)
        return self._with_variables(lower, args)[1]

    def _tensorflow(self):
        import tensorflow as tf

        return tf.function(self._fn, jit_compile=True, autograph=False)

    def _torch(self):
        import torch

        def call(*args):
            with torch.no_grad():
                return self._fn(*args)

        return call

    def _jax(self):
        def run(program, values, args):
            return program(values, args)

        def call(*args):
            variables, (result, changes) = self._with_variables(run, args)
            for index, value in changes.items():
                variables[index].assign(value)
            return result

        return call

    def _with_variables(self, run, args):
        """Runs the pure program, again if it uses further variables."""
        while True:
            given = self._variables
            given = given() if callable(given) else given
            used = {id(v): v for v in given} | self._found
            variables = list(used.values())
            key = tuple(used)
            if key not in self._programs:
                self._programs[key] = self._pure(variables)
            values = [ops.convert_to_tensor(v.value) for v in variables]
            try:
                return variables, run(self._programs[key], values, args)
            except _UnlistedVariables as found:
                self._found |= found.variables
            with keras.StatelessScope():
                pass  # creates the variables of layers built while tracing

    def _pure(self, variables):
        import jax

        index = {id(v): i for i, v in enumerate(variables)}

        def pure(values, args):
            mapping = list(zip(variables, values, strict=True))
            with RecordingScope(mapping, initialize_variables=False) as scope:
                result = self._fn(*args)
            changes = scope.changes()
            unlisted = scope.read | {id(v): v for v, _ in changes}
            unlisted = {k: v for k, v in unlisted.items() if k not in index}
            if unlisted:
                raise _UnlistedVariables(unlisted)
            # only changed variables are returned: others would be copied
            return result, {index[id(v)]: value for v, value in changes}

        return jax.jit(pure)


class _UnlistedVariables(Exception):
    """Ends a trace that has read variables as constants."""

    def __init__(self, variables):
        super().__init__("the function uses variables which were not listed")
        self.variables = variables


def _to_tensor(x):
    if x is None:
        return None
    if isinstance(x, keras.Variable):
        # on TensorFlow convert_to_tensor returns a variable unchanged
        return ops.copy(x.value)
    # an explicit dtype: JAX would trace weakly typed int32 separately
    if isinstance(x, bool):
        return ops.convert_to_tensor(x, "bool")
    if isinstance(x, int) and -(2**31) <= x < 2**31:
        return ops.convert_to_tensor(x, "int32")
    if isinstance(x, float):
        return ops.convert_to_tensor(x, keras.config.floatx())
    return ops.convert_to_tensor(x)
