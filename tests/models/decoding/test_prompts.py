"""Prompts of any form as arrays of a few shapes."""

import numpy as np
import pytest

from su_models.models.decoding.prompts import Prompts, bucket, uniforms


def test_zeros_at_the_end_are_padding():
    prompts = Prompts([[5, 0, 3, 0], [7]], None, None, 9)
    assert prompts.lengths.tolist() == [3, 1] and len(prompts) == 2
    again = Prompts(np.array([[5, 0, 3, 0], [7, 0, 0, 0]]), None, None, 9)
    np.testing.assert_array_equal(again.tokens, prompts.tokens)


def test_given_lengths_cut_what_follows():
    ids = np.array([[5, 6, 3], [7, 1, 1]])
    prompts = Prompts(ids, np.ones_like(ids), [3, 1], 9)
    assert prompts.tokens.tolist() == [[5, 6, 3], [7, 0, 0]]
    assert prompts.segments.tolist() == [[1, 1, 1], [1, 0, 0]]
    tokens, segments, lengths = prompts.padded(np.array([1]))
    assert tokens.shape == segments.shape == (1, 16)
    assert lengths.tolist() == [1]


def test_lengths_of_arrays_are_few():
    assert {bucket(n) for n in range(1, 101)} == {16, 32, 64, 128}
    assert bucket(17, 20) == 20 and bucket(9, 12) == 12


@pytest.mark.parametrize(
    ("ids", "segments", "lengths", "match"),
    [
        ([[1, 9]], None, None, "from 0 to 8.*with 9"),
        ([[-1, 2]], None, None, "with -1"),
        ([[1.5]], None, None, "integers"),
        (np.ones((2, 3)), None, None, "integers"),
        ([], None, None, "not empty"),
        ([[]], None, None, "not empty"),
        ([1, 2], None, None, "list of lists"),
        ("ab", None, None, "list of lists"),
        ([[1], [0]], None, None, "empty prompt, 1"),
        (np.ones((1, 2), int), np.ones((1, 1), int), None, "ids of shape"),
        ([[1, 2]], [[0, -1]], None, "segment_ids with -1"),
        ([[1, 2, 3], [4]], [[0], [0, 0, 1]], None, "1 segments in prompt 0"),
        ([[1, 2]], None, [3], "prompt_lengths=.3"),
        ([[1, 2]], None, [0], "prompt_lengths=.0"),
        ([[1, 2]], None, [1, 2], "prompt_lengths=.1 2"),
        ([[1, 2]], None, [1.0], "prompt_lengths=.1"),
    ],
)
def test_bad_prompts_are_rejected(ids, segments, lengths, match):
    with pytest.raises(ValueError, match=f"Received: .*{match}|{match}"):
        Prompts(ids, segments, lengths, 9)


def test_uniform_numbers_depend_on_seed_and_place():
    some = uniforms(3, 2, (1, 4))
    assert some.shape == (2, 1, 4) and some.dtype == "float32"
    assert 0 <= some.min() and some.max() < 1
    np.testing.assert_array_equal(uniforms(3, 5, (1, 4))[:2], some)
    assert (uniforms(4, 2, (1, 4)) != some).all()
    assert (uniforms(None, 2, (1, 4)) != uniforms(None, 2, (1, 4))).all()
    each = uniforms([8, 3, 8], 3, (1, 4))
    np.testing.assert_array_equal(each[1], some[0])
    np.testing.assert_array_equal(each[0], each[2])


@pytest.mark.parametrize("seed", [-1, 2**31, 1.5, [1], [1, -1], [1, None], "1"])
def test_bad_seeds_are_rejected(seed):
    with pytest.raises(ValueError, match="Received: seed="):
        uniforms(seed, 2, (1, 4))
