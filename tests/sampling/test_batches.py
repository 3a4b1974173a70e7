import numpy as np
import pytest
from keras import ops

from su_models.sampling.batches import Batches


def numbered(seed, k):
    """Batches of 4 whose entries say seed, batch and place."""
    place = ops.reshape(ops.arange(4, dtype="float32"), (4, 1))
    return (
        place
        + 10.0 * ops.cast(k, "float32")
        + 1000.0 * ops.cast(seed, "float32")
    )


BATCHES = Batches(numbered, (4, 1))


def test_batches_follow_each_other_and_the_rest_is_cut():
    found = BATCHES.sample(10, seed=3)
    expected = [[3000 + i] for i in (0, 1, 2, 3, 10, 11, 12, 13, 20, 21)]
    assert found.tolist() == expected
    assert BATCHES.sample(2, seed=3).tolist() == expected[:2]


def test_progress_shows_the_batches(capsys):
    BATCHES.sample(10, progress=True)
    assert "3/3" in capsys.readouterr().out


def test_the_endpoint_gives_the_same():
    endpoint = BATCHES.endpoint()
    assert [s.name for s in endpoint.input_signature] == ["seed", "num_samples"]
    found = ops.convert_to_numpy(endpoint(3, 10))
    np.testing.assert_array_equal(found, BATCHES.sample(10, seed=3))
    assert tuple(endpoint(3, 0).shape) == (0, 1)


@pytest.mark.parametrize(
    "number, seed", [(0, 0), (2.0, 0), (3, -1), (3, 2**31), (3, None)]
)
def test_bad_numbers_are_refused(number, seed):
    with pytest.raises(ValueError, match="Received: (num_samples|seed)="):
        BATCHES.sample(number, seed)
