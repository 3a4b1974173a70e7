import numpy as np

from su_models.runs.minibatches import Minibatches


def epoch(batches, number):
    batches.begin(number)
    return [batches[i][0] for i in range(len(batches))]


def test_each_image_comes_equally_often():
    batches = Minibatches(np.arange(6), 4, 3, seed=0)  # 12 of 6, twice each
    counts = np.bincount(np.concatenate(epoch(batches, 0)))
    assert counts.tolist() == [2] * 6


def test_order_follows_from_seed_and_epoch_alone():
    def order(seed, number):
        batches = Minibatches(np.arange(50), 10, 4, seed)
        return np.concatenate(epoch(batches, number)).tolist()

    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4)
    assert order(0, 3) != order(1, 3)


def test_the_callback_keeps_the_number_of_the_epoch():
    batches = Minibatches(np.arange(50), 10, 4, seed=0)
    expected = epoch(batches, 7)[0]
    batches.begin(0)
    batches.follow.on_epoch_begin(7, None)
    np.testing.assert_array_equal(batches[0][0], expected)


def test_arrays_are_shuffled_alike():
    x = np.arange(50)
    inputs, targets = Minibatches(({"a": x, "b": -x}, 2 * x), 10, 4, 0)[1]
    np.testing.assert_array_equal(inputs["b"], -inputs["a"])
    np.testing.assert_array_equal(targets, 2 * inputs["a"])
    assert len({*inputs["a"]}) == 10
