"""Random numbers whose seed may be a tensor inside a compiled program."""

import operator

import keras
import numpy as np
from keras import ops


class SeedTensor(keras.random.SeedGenerator):
    """Makes `keras.random` draw from two given words instead of a variable.

    A `keras.random.SeedGenerator` owns a variable, which a loop compiled by
    XLA cannot change; an integer seed is a constant of the program. This one
    only hands over a tensor, so that the seed may be an argument of the
    program and depend on the index of a loop. Like an integer seed it has no
    state: drawing twice from it gives the same numbers twice, so make one
    for each draw. It is not meant to be an attribute of a layer.

    The same words give the same numbers in every program, with one exception
    that is TensorFlow's: `tf.random` has another generator under XLA than
    without it, so that a program compiled by XLA and an eager call differ.

    Args:
        words: integers `(2,)` as `seed_words` returns them.

    Example:

    >>> words = su_models.backend.seed_words(seed=0, stream=7)
    >>> seed = su_models.backend.SeedTensor(words)
    >>> tuple(keras.random.normal((2, 3), seed=seed).shape)
    (2, 3)
    """

    def __init__(self, words):
        # no super().__init__(): it would create the variable
        shape = tuple(ops.shape(words))
        if shape != (2,):
            raise ValueError(
                f"`words` must have the shape (2,). Received: shape={shape}"
            )
        self.name = "seed_tensor"
        self.words = words
        self._initial_seed = 0  # not None, or torch's dropout ignores us

    def next(self, ordered=True):
        """Returns the words, each time the same."""
        if keras.backend.backend() == "tensorflow":
            # a dtype other than int32 would lose a bit: Keras takes it
            # modulo 2^31 - 2 first
            return ops.view(self.words, "int32")
        return self.words

    def get_config(self):
        """Refuses: a tensor of a running program is no configuration."""
        raise NotImplementedError("A `SeedTensor` cannot be saved.")


def seed_words(seed, stream=0):
    """Returns two well mixed words for stream number `stream` of `seed`.

    The map from `(seed, stream)` to the two words is one to one. PyTorch
    seeds its generator with the *sum* of the words, 32 bits only: the sums
    of one seed's streams all differ, and those of different seeds meet no
    more often than random numbers do.

    Args:
        seed: integer from 0 to 2³² - 1, or a scalar integer tensor, also one
            being traced. A tensor is not checked, its lower 32 bits are used.
        stream: the same, e.g. the index of a loop.

    Returns:
        A uint32 tensor `(2,)` (int64 on PyTorch, which has no uint32).

    Raises:
        ValueError: if a Python number is negative, too large or no integer,
            or a tensor is no integer scalar.

    Example:

    >>> words = su_models.backend.seed_words(seed=0, stream=7)
    >>> tuple(words.shape)
    (2,)
    """
    seed = _to_uint32(seed, "seed")
    stream = _to_uint32(stream, "stream")
    # each line is invertible given the others, hence one to one
    a = _mix(ops.bitwise_xor(seed, _constant(0x9E3779B9)))
    b = _mix(ops.bitwise_xor(stream, a))
    c = _mix(_wrap(ops.add(a, b)))
    first = _wrap(ops.subtract(c, b))  # so that first + b = c on PyTorch
    return ops.stack([first, b])


def normal(shape, words):
    """Returns standard normal numbers for two words of `seed_words`.

    The same as `keras.random.normal` with a `SeedTensor`, but for inner
    loops: on TensorFlow it names the generator, Philox. Left to select one,
    XLA on a CPU mixes the seed again for every number, ten times slower.

    Args:
        shape: ints, the shape of the result.
        words: integers `(2,)` as `seed_words` returns them.

    Returns:
        A float32 tensor.

    Example:

    >>> words = su_models.backend.seed_words(seed=0)
    >>> x = su_models.backend.normal((2, 3), words)
    >>> tuple(x.shape)
    (2, 3)
    """
    seed = SeedTensor(words)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.random.stateless_normal(shape, seed.next(), alg="philox")
    return keras.random.normal(shape, dtype="float32", seed=seed)


def _to_uint32(value, name):
    if ops.is_tensor(value) or isinstance(value, keras.Variable):
        dtype = keras.backend.standardize_dtype(value.dtype)
        if "int" not in dtype or tuple(value.shape) != ():
            raise ValueError(
                f"`{name}` must be an integer scalar. Received: "
                f"{name} of dtype {dtype} and shape {tuple(value.shape)}"
            )
        value = ops.convert_to_tensor(value)
        return _wrap(ops.cast(value, "uint32"))
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if isinstance(value, bool) or not 0 <= number < 2**32:
        raise ValueError(
            f"`{name}` must be an integer from 0 to 2**32 - 1. "
            f"Received: {name}={value!r}"
        )
    return _constant(number)


def _constant(number):
    return ops.convert_to_tensor(np.uint32(number), "uint32")


def _wrap(x):
    """Keeps the lower 32 bits: needed where uint32 is held in an int64."""
    return ops.bitwise_and(x, _constant(0xFFFFFFFF))


def _mix(x):
    """Scrambles 32 bits, one to one: each step can be undone."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = ops.bitwise_xor(x, ops.right_shift(x, _constant(shift)))
        x = _wrap(ops.multiply(x, _constant(factor)))
    return ops.bitwise_xor(x, ops.right_shift(x, _constant(16)))
