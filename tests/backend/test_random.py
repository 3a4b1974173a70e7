"""`SeedTensor` and `seed_words`: traced seeds, streams that do not meet."""

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import SeedTensor, compiled, normal, seed_words

MASK = 0xFFFFFFFF


def mix(x):
    """The finalizer of MurmurHash3 in Python integers."""
    x ^= x >> 16
    x = x * 0x85EBCA6B & MASK
    x ^= x >> 13
    x = x * 0xC2B2AE35 & MASK
    return x ^ x >> 16


def reference(seed, stream):
    a = mix(seed ^ 0x9E3779B9)
    b = mix(stream ^ a)
    c = mix((a + b) & MASK)
    return (c - b) & MASK, b


def words(seed, stream=0):
    return tuple(int(w) for w in ops.convert_to_numpy(seed_words(seed, stream)))


def draw(seed, stream, shape=(1000,)):
    noise = SeedTensor(seed_words(seed, stream))
    return keras.random.normal(shape, seed=noise)


NUMBERS = [0, 1, 2, 999, 2**31 - 1, 2**31, 2**32 - 1]


@pytest.mark.parametrize("seed", NUMBERS)
def test_words_are_the_reference(seed):
    for stream in NUMBERS:
        assert words(seed, stream) == reference(seed, stream)


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint8"])
def test_a_tensor_is_as_good_as_a_number(dtype):
    # from an array, because JAX warns when asked for an int64 outright
    seed, stream = (ops.convert_to_tensor(np.array(n, dtype)) for n in (77, 5))
    assert words(seed, stream) == words(77, 5)
    assert words(np.int64(77), np.uint8(5)) == words(77, 5)


def test_words_are_the_same_compiled():
    program = compiled(seed_words)
    for seed, stream in [(0, 0), (3, 1), (2**31 - 1, 999)]:
        got = ops.convert_to_numpy(program(seed, stream))
        assert tuple(int(w) for w in got) == words(seed, stream)


def test_neighbouring_seeds_and_streams_do_not_collide():
    """Neither the words nor their sum, all that PyTorch looks at."""
    pairs = [reference(s, t) for s in range(40) for t in range(40)]
    assert len(set(pairs)) == 1600
    assert len({sum(p) & MASK for p in pairs}) == 1600
    assert words(1, 2) != words(2, 1) != words(0, 3)


def test_the_sums_of_one_seed_never_collide():
    sums = {sum(reference(11, t)) & MASK for t in range(200_000)}
    assert len(sums) == 200_000  # 4.7 would, at random


def test_draws_repeat():
    first, again = (ops.convert_to_numpy(draw(5, 3)) for _ in "12")
    np.testing.assert_array_equal(first, again)
    noise = SeedTensor(seed_words(5, 3))
    for _ in range(2):
        x = keras.random.normal((1000,), seed=noise)
        np.testing.assert_array_equal(ops.convert_to_numpy(x), first)


def test_streams_are_uncorrelated_standard_normals():
    keys = [(s, t) for s in (0, 1, 2) for t in (0, 1, 2, 3)]
    x = np.stack([ops.convert_to_numpy(draw(*k, (4000,))) for k in keys])
    assert np.abs(x.mean(axis=1)).max() < 4.5 / np.sqrt(4000)
    assert np.abs(x.std(axis=1) - 1).max() < 4.5 / np.sqrt(8000)
    correlation = np.corrcoef(x) - np.eye(len(x))
    assert np.abs(correlation).max() < 4.5 / np.sqrt(4000)


def test_a_loop_draws_its_own_stream_at_each_step():
    def loop(seed):
        def step(i, total):
            noise = SeedTensor(seed_words(seed, i))
            # each step lands in its own row: steps cannot be confused
            row = ops.cast(ops.arange(4) == i, "float32")[:, None]
            return total + row * keras.random.normal((6,), seed=noise)

        return ops.fori_loop(0, 4, step, ops.zeros((4, 6)))

    rows = ops.convert_to_numpy(compiled(loop)(9))
    single = compiled(lambda seed, i: draw(seed, i, (6,)))
    for i in range(4):
        np.testing.assert_allclose(
            rows[i], ops.convert_to_numpy(single(9, i)), atol=1e-6
        )
    again = ops.convert_to_numpy(compiled(loop)(9))
    np.testing.assert_array_equal(rows, again)
    assert np.abs(rows - ops.convert_to_numpy(compiled(loop)(8))).min() > 0


def test_a_while_loop_may_draw():
    def loop(seed):
        def step(i, x):
            noise = SeedTensor(seed_words(seed, i))
            return i + 1, x + keras.random.uniform((3,), seed=noise)

        return ops.while_loop(lambda i, x: i < 50, step, (0, ops.zeros((3,))))[
            1
        ]

    x = ops.convert_to_numpy(compiled(loop)(1)) / 50
    assert (np.abs(x - 0.5) < 4.5 / np.sqrt(12 * 50)).all()


@pytest.mark.skipif(
    keras.backend.backend() == "tensorflow",
    reason="TensorFlow has other generators under XLA than without",
)
def test_draws_are_the_same_compiled():
    program = compiled(lambda seed, i: draw(seed, i))
    got = ops.convert_to_numpy(program(4, 2))
    np.testing.assert_allclose(got, ops.convert_to_numpy(draw(4, 2)), atol=1e-6)


def test_every_bit_of_the_words_counts():
    """Keras on TensorFlow takes seeds modulo 2³¹ - 2."""

    def draw(*pair):
        words = ops.convert_to_tensor(np.array(pair, "uint32"))
        x = keras.random.normal((9,), seed=SeedTensor(words))
        return ops.convert_to_numpy(x)

    assert (draw(5, 3) != draw(5 + 2**31 - 2, 3)).any()
    assert (draw(5, 3) != draw(5, 3 + 2**31 - 2)).any()


def test_dropout_is_seeded_too():
    def drop(stream):
        seed = SeedTensor(seed_words(0, stream))
        x = keras.random.dropout(ops.ones((64,)), 0.5, seed=seed)
        return ops.convert_to_numpy(x)

    np.testing.assert_array_equal(drop(1), drop(1))
    assert (drop(1) != drop(2)).any()


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, "1", None, True])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(ValueError, match="`seed` .*Received: seed="):
        seed_words(seed)
    with pytest.raises(ValueError, match="`stream` .*Received: stream="):
        seed_words(0, seed)


def test_a_tensor_that_is_no_seed_is_refused():
    for bad in (ops.ones(()), ops.ones((2,), "int32")):
        with pytest.raises(ValueError, match="integer scalar. Received: seed"):
            seed_words(bad)


def test_words_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"Received: shape=\(3,\)"):
        SeedTensor(ops.ones((3,), "uint32"))


def test_a_seed_tensor_is_not_saved():
    with pytest.raises(NotImplementedError, match="cannot be saved"):
        SeedTensor(seed_words(0)).get_config()


def test_normal_numbers_are_standard_repeat_and_differ_by_stream():
    program = compiled(lambda seed, t: normal((200, 50), seed_words(seed, t)))
    x, again, other = (ops.convert_to_numpy(program(3, t)) for t in (7, 7, 8))
    np.testing.assert_array_equal(x, again)
    assert abs(x.mean()) < 0.05 and abs(x.std() - 1) < 0.03
    assert abs((x * other).mean()) < 0.05
    assert x.dtype == "float32"
