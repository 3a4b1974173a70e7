"""Gradient functions of any order that are equal on every backend."""

import contextlib

import keras
from keras import ops

from su_models.backend.recording_scope import RecordingScope


def gradient(fn, *tensors):
    """Returns the gradient of a scalar function with respect to tensors.

    Calls can be nested (Hessian-vector products), and made inside `compiled`
    or in a layer during `fit`, where the gradients of the gradient reach the
    weights (gradient penalties).

    Only the dependence on the arguments of `fn` is differentiated. The gradient
    is zero for a tensor that `fn` does not depend on. Keras variables that `fn`
    assigns, e.g. the states of random generators, are assigned once; losses
    that layers add inside `fn` are discarded.

    On PyTorch the result is itself differentiable if gradients are being
    recorded where `gradient` is called.

    Args:
        fn: function of the given tensors that returns a scalar. Its layers
            should be built: on JAX a layer that is built inside starts from
            the values of its initializers.
        *tensors: floating-point tensors or arrays.

    Returns:
        A tensor like the given one, or a tuple if several are given.

    Raises:
        ValueError: if no tensor is given, a tensor is not floating-point, or
            the result of `fn` is not a scalar.

    Example:

    >>> x = keras.ops.array([1.0, 2.0, 3.0])
    >>> g = su_models.backend.gradient(lambda x: keras.ops.sum(x**3), x)
    >>> print(keras.ops.convert_to_numpy(g))
    [ 3. 12. 27.]
    """
    return value_and_gradient(fn, *tensors)[1]


def value_and_gradient(fn, *tensors):
    """Returns `fn(*tensors)` and its gradient in one pass.

    Args:
        fn: see `gradient`.
        *tensors: see `gradient`.

    Returns:
        A pair of a scalar and the gradient.

    Example:

    >>> pair = su_models.backend.value_and_gradient(lambda x: x**2, 3.0)
    >>> print(*map(keras.ops.convert_to_numpy, pair))
    9.0 6.0
    """
    if not tensors:
        raise ValueError("`tensors` must be at least one. Received: tensors=()")
    value, gradients = _value_and_gradients(fn, tensors)
    return value, gradients if len(tensors) > 1 else gradients[0]


def variable_gradient(fn, variables):
    """Returns the gradient of `fn()` with respect to Keras variables.

    It works like `gradient`, with variables instead of arguments. The
    variables need not be trainable. A gradient is always dense, even that of
    an embedding.

    Args:
        fn: function without arguments that returns a scalar.
        variables: list of `keras.Variable`, e.g. `model.trainable_variables`.

    Returns:
        A list of tensors, one for each variable.

    Example:

    >>> w = keras.Variable([1.0, 2.0])
    >>> loss = lambda: keras.ops.sum(w**2)
    >>> (g,) = su_models.backend.variable_gradient(loss, [w])
    >>> print(keras.ops.convert_to_numpy(g))
    [2. 4.]
    """
    return value_and_variable_gradient(fn, variables)[1]


def value_and_variable_gradient(fn, variables):
    """Returns `fn()` and its gradient in one pass.

    Args:
        fn: see `variable_gradient`.
        variables: see `variable_gradient`.

    Returns:
        A pair of a scalar and a list of tensors.

    Example:

    >>> w = keras.Variable([1.0, 2.0])
    >>> loss = lambda: keras.ops.sum(w**2)
    >>> y, _ = su_models.backend.value_and_variable_gradient(loss, [w])
    >>> print(keras.ops.convert_to_numpy(y))
    5.0
    """
    variables = list(variables)
    for v in variables:
        if not isinstance(v, keras.Variable):
            raise ValueError(
                f"`variables` must be Keras variables. Received: {v!r}"
            )

    def of_values(*values):
        mapping = list(zip(variables, values, strict=True))
        with RecordingScope(mapping) as scope:
            value = fn()
        _assign(scope.changes())  # in the enclosing scope
        return value

    values = [v.value for v in variables]
    value, gradients = _value_and_gradients(of_values, values)
    return value, list(gradients)


def unrecorded():
    """Returns a scope whose results PyTorch takes as constants.

    Inside, a gradient is no function that could be differentiated again: it
    needs less memory, and `torch.compile` has no second derivatives.
    TensorFlow and JAX need no such scope, only `ops.stop_gradient`.
    """
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()


def _value_and_gradients(fn, tensors):
    tensors = [ops.convert_to_tensor(x) for x in tensors]
    for x in tensors:
        dtype = keras.backend.standardize_dtype(x.dtype)
        if "float" not in dtype:
            raise ValueError(
                f"Only floats have gradients. Received: a tensor of {dtype}"
            )
    changed = []  # the variables that fn assigns, known after it has run

    def recorded(*tensors):
        with RecordingScope() as scope:
            value = ops.convert_to_tensor(fn(*tensors))
        if tuple(value.shape) != ():
            raise ValueError(
                "The function must return a scalar. Received: "
                f"shape={tuple(value.shape)}"
            )
        changes = scope.changes()
        changed[:] = [v for v, _ in changes]
        return value, [x for _, x in changes]

    differentiate = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
    differentiate = differentiate[keras.backend.backend()]
    value, gradients, values = differentiate(recorded, tensors)
    _assign(zip(changed, values, strict=True))
    return value, tuple(gradients)


def _tensorflow(fn, tensors):
    import tensorflow as tf

    # copies, so that a tensor in the closure of fn remains a constant
    tensors = [tf.identity(x) for x in tensors]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(tensors)
        value, changes = fn(*tensors)
    gradients = tape.gradient(
        value, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    return value, [tf.convert_to_tensor(g) for g in gradients], changes


def _jax(fn, tensors):
    import jax

    arguments = tuple(range(len(tensors)))
    differentiate = jax.value_and_grad(fn, argnums=arguments, has_aux=True)
    (value, changes), gradients = differentiate(*tensors)
    return value, gradients, changes


def _torch(fn, tensors):
    import torch

    recording = torch.is_grad_enabled()
    with torch.enable_grad(), _unfused_attention(recording):
        tensors = [
            x.view_as(x) if x.requires_grad else x.detach().requires_grad_()
            for x in tensors
        ]
        value, changes = fn(*tensors)
        if not value.requires_grad:
            return value, [torch.zeros_like(x) for x in tensors], changes
        gradients = torch.autograd.grad(
            value, tensors, create_graph=recording, materialize_grads=True
        )
    if not recording:
        value, changes = value.detach(), [x.detach() for x in changes]
    return value, gradients, changes


def _unfused_attention(recording):
    """Has PyTorch's attention take the form that has second derivatives.

    Its fused kernels have none. While gradients of gradients are recorded,
    attention is computed from products and a softmax, in layers of the
    library, of Keras and of PyTorch alike.
    """
    import torch

    if not recording:
        return contextlib.nullcontext()
    return torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)


def _assign(changes):
    for variable, value in changes:
        variable.assign(value)
