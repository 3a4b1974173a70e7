"""Article: https://kexue.fm/archives/6933"""

import numpy as np
import pytest
from keras import ops

from su_models.backend.compile import compiled
from su_models.generation import RandomSampling
from su_models.generation.random_sampling import (
    inverse_cdf,
    keep_top_k,
    keep_top_p,
)
from tests.generation import reference
from tests.generation.toy import FIRST, run, score

UNIFORMS = np.random.default_rng(5).uniform(size=(3, 4, 7)).astype("float32")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 3},
        {"top_p": 0.7, "end_id": 4},
        {"top_k": 4, "top_p": 0.8, "temperature": 2.0},
    ],
)
def test_equals_a_loop_without_a_cache(options):
    search = RandomSampling(7, num_samples=4, **options)
    ids, scores, _ = run(search, uniforms=UNIFORMS)
    for i, first in enumerate(FIRST):
        for j in range(4):
            tokens, total = reference.sample(
                score(first), 7, UNIFORMS[i, j], **options
            )
            assert ids[i, j].tolist() == reference.padded(tokens, 7)
            np.testing.assert_allclose(scores[i, j], total, atol=1e-4)


def distribution(size=300):
    logits = np.random.default_rng(3).normal(size=(2, size)) * 2
    return (np.exp(logits) / np.exp(logits).sum(-1)[:, None]).astype("float32")


@pytest.mark.parametrize("top_p", [1e-6, 0.1, 0.5, 0.9, 0.999, 0.999999])
def test_the_nucleus_is_that_of_a_sorted_vocabulary(top_p):
    p = distribution()
    kept = ops.convert_to_numpy(compiled(lambda x: keep_top_p(x, top_p))(p))
    for got, x in zip(kept, p.astype("float64"), strict=True):
        np.testing.assert_array_equal(
            got > 0, reference.distribution(x, top_p=top_p) > 0
        )


@pytest.mark.parametrize("k", [1, 3, 299, 300, 10**6])
def test_the_k_largest_are_kept(k):
    p = distribution()
    kept = ops.convert_to_numpy(compiled(lambda x: keep_top_k(x, k))(p))
    for got, x in zip(kept, p, strict=True):
        assert set(np.flatnonzero(got)) == set(np.argsort(-x)[:k])


def test_the_index_is_that_of_a_cumulative_sum():
    p = distribution()[0]
    p[::3] = 0
    u = np.random.default_rng(0).uniform(size=500).astype("float32")
    u = np.concatenate([u, [0.0, np.nextafter(np.float32(1), 0)]])
    many = np.broadcast_to(p, (len(u), len(p)))
    got = ops.convert_to_numpy(compiled(inverse_cdf)(many, u.astype("float32")))
    sums = p.astype("float64").cumsum()
    expected = [np.flatnonzero(sums > x * sums[-1])[0] for x in u]
    assert (got == expected).mean() > 0.99  # a sum in float32 is rounded
    np.testing.assert_allclose(got, expected, atol=3)
    assert (p[got] > 0).all()


@pytest.mark.parametrize("options", [{}, {"top_k": 5}, {"top_p": 0.8}], ids=str)
def test_draws_have_the_exact_distribution(options):
    from scipy import stats

    n, size = 100_000, 200
    logits = np.random.default_rng(3).normal(size=size).astype("float32")
    search = RandomSampling(1, num_samples=n, **options)
    u = np.random.default_rng(11).uniform(size=(1, n, 1)).astype("float32")

    # an argument: XLA would compute draws from constants while it compiles
    def program(u, logits):
        def step(tokens, cache, index):
            return ops.zeros((1, n, 1)) + logits, cache

        return search(step, ops.zeros(1, "int32"), (), uniforms=u).ids

    ids = ops.convert_to_numpy(compiled(program)(u, logits)).ravel()
    p = np.exp(reference.log_softmax(logits))
    p = reference.distribution(p, **options)
    counts = np.bincount(ids, minlength=size)
    assert not counts[p == 0].any()
    some = p > 0
    result = stats.chisquare(counts[some], p[some] * n)
    assert result.pvalue > 0.01


def test_uniforms_of_another_shape_are_rejected():
    with pytest.raises(ValueError, match=r"Received: .*\(3, 4, 7\)"):
        run(RandomSampling(7, num_samples=2), uniforms=UNIFORMS)


@pytest.mark.parametrize(
    "options",
    [{"top_k": 0}, {"top_p": 0}, {"top_p": 1.5}, {"num_samples": 0}],
)
def test_bad_arguments_are_rejected(options):
    with pytest.raises(ValueError, match="Received: "):
        RandomSampling(3, **options)
