"""Random numbers whose seed can be a tensor in a compiled program."""

import operator

import keras
import numpy as np
from keras import ops


class SeedTensor(keras.random.SeedGenerator):
    """Makes `keras.random` draw from two given words instead of a variable.

    A `keras.random.SeedGenerator` owns a variable, which a loop compiled by
    XLA cannot change; an integer seed is a constant of the program. This
    class passes on a tensor, so that the seed can be an argument of the
    program and depend on the index of a loop. Like an integer seed it has no
    state: two draws from it give the same numbers, so create one for each
    draw. It is not meant to be an attribute of a layer.

    The same words give the same numbers in every program, with one exception:
    `tf.random` uses another generator under XLA, so a program compiled by XLA
    and an eager call differ.

    Args:
        words: integers `(2,)`, as returned by `seed_words`.

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
        self._initial_seed = 0  # if None, PyTorch's dropout ignores the seed

    def next(self, ordered=True):
        """Returns the words, which are the same in each call."""
        if keras.backend.backend() == "tensorflow":
            # another dtype than int32 would lose a bit, since Keras first
            # reduces it modulo 2^31 - 2
            return ops.view(self.words, "int32")
        return self.words

    def get_config(self):
        """Raises an error, since a tensor cannot be part of a config."""
        raise NotImplementedError("A `SeedTensor` cannot be saved.")


def seed_words(seed, stream=0):
    """Returns two well mixed words for a stream of a seed.

    The map from `(seed, stream)` to the two words is one to one. PyTorch
    seeds its generator with the 32-bit *sum* of the words: the sums of one
    seed's streams all differ, and those of different seeds collide no more
    often than random numbers.

    Args:
        seed: integer from 0 to 2³² - 1, or a scalar integer tensor, which may
            be traced. A tensor is not checked; its lower 32 bits are used.
        stream: like `seed`, e.g. the index of a loop.

    Returns:
        A uint32 tensor `(2,)` (int64 on PyTorch, which has no uint32).

    Raises:
        ValueError: if a Python number is negative, too large or not an
            integer, or a tensor is not an integer scalar.

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

    It equals `keras.random.normal` with a `SeedTensor`, but is faster in
    inner loops: on TensorFlow it selects the generator Philox. XLA on a CPU
    would select a generator that is ten times slower, since it mixes the seed
    again for every number.

    Args:
        shape: ints, the shape of the result.
        words: integers `(2,)`, as returned by `seed_words`.

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
    """Keeps the lower 32 bits, if uint32 is stored in an int64."""
    return ops.bitwise_and(x, _constant(0xFFFFFFFF))


def _mix(x):
    """Scrambles 32 bits, one to one, since each step is invertible."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = ops.bitwise_xor(x, ops.right_shift(x, _constant(shift)))
        x = _wrap(ops.multiply(x, _constant(factor)))
    return ops.bitwise_xor(x, ops.right_shift(x, _constant(16)))
