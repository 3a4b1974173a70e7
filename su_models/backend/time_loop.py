"""A loop over the steps of sequences on TensorFlow and JAX."""

from keras import tree

from su_models.backend.selection import require_backend, runs_on

BACKENDS = "tensorflow", "jax"


def has_time_loop():
    """Tells whether the backend has `time_loop`, unlike PyTorch."""
    return runs_on(*BACKENDS)


def time_loop(step, inputs, states, reverse=False):
    """Applies a step function along sequences, and stacks its outputs.

    Unlike `keras.ops.scan`, it is differentiable under XLA on TensorFlow.
    Unlike the loop of `keras.layers.RNN`, it accepts several sequences with
    time as the first axis, and so does not transpose them.

    Args:
        step: function of the states and the inputs of one step, with the
            nesting of the arguments, that returns the new states and the
            outputs of the step, a nest of tensors. It must not create or
            assign variables.
        inputs: nest of tensors `(length, ...)`, with at least one step.
        states: nest of tensors before the first step.
        reverse: whether to begin with the last step. Outputs always have the
            positions of their inputs.

    Returns:
        The states after the loop and the nest of outputs, `(length, ...)`.

    Raises:
        NotImplementedError: on PyTorch.

    Example, on TensorFlow and JAX:

        sums = lambda total, x: (total + x, total)
        total, before = time_loop(sums, x, keras.ops.zeros(x.shape[1:]))
    """
    require_backend("`time_loop`", *BACKENDS)
    loop = _jax if runs_on("jax") else _tensorflow
    return loop(step, inputs, states, reverse)


def _jax(step, inputs, states, reverse):
    import jax

    return jax.lax.scan(step, states, inputs, reverse=reverse)


def _tensorflow(step, inputs, states, reverse):
    import tensorflow as tf

    sequences = tree.flatten(inputs)
    # XLA needs a known number of steps for the gradient
    length = sequences[0].shape[0] or tf.shape(sequences[0])[0]
    inputs_of = [_array(x[0], length).unstack(x) for x in sequences]
    first = tree.pack_sequence_as(inputs, [x[0] for x in sequences])
    _, outputs = step(states, first)  # only their shapes and types are read
    arrays = [_array(y, length) for y in tree.flatten(outputs)]

    def body(k, states, arrays):
        t = length - 1 - k if reverse else k
        x = tree.pack_sequence_as(inputs, [a.read(t) for a in inputs_of])
        states, y = step(states, x)
        y = tree.flatten(y)
        arrays = [a.write(t, y_t) for a, y_t in zip(arrays, y, strict=True)]
        return k + 1, states, arrays

    _, states, arrays = tf.while_loop(
        lambda k, *_: k < length,
        body,
        (0, states, arrays),
        maximum_iterations=length,
    )
    stacked = [a.stack() for a in arrays]
    return states, tree.pack_sequence_as(outputs, stacked)


def _array(like, length):
    import tensorflow as tf

    return tf.TensorArray(like.dtype, length, element_shape=like.shape)
