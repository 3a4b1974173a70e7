import itertools

import keras
import numpy as np
import pytest

from su_models.compat.bert4keras.generator import DataGenerator

LENGTHS = [3, 3, 3, 5, 4, 3, 6]


class Batches(DataGenerator):
    """Rows of ones, padded to the longest of a batch."""

    def __iter__(self, random=False):
        rows = []
        for is_end, n in self.sample(random):
            rows.append(n)
            if len(rows) == self.batch_size or is_end:
                x = np.ones((len(rows), max(rows)), "int32")
                yield [x, 2 * x], np.array(rows)[:, None]
                rows = []


class Unlabelled(Batches):
    def __iter__(self, random=False):
        for x, _ in super().__iter__(random):
            yield x, None


def shapes(batches, count):
    return [x[0].shape for x, *_ in itertools.islice(batches, count)]


def test_length_and_the_last_sample():
    generator = DataGenerator(LENGTHS, batch_size=2)
    assert len(generator) == 4
    assert [*generator.sample()] == [
        *zip([False] * 6 + [True], LENGTHS, strict=True)
    ]
    assert [*DataGenerator([], 2).sample()] == []
    with pytest.raises(NotImplementedError, match="__iter__"):
        next(generator.forfit())


@pytest.mark.parametrize("endless", [False, True])
def test_random_samples_are_those_of_the_data(endless):
    np.random.seed(0)
    data = iter(range(50)) if endless else range(50)
    generator = DataGenerator(data, 2, buffer_size=5)
    ends, samples = zip(*generator.sample(random=True), strict=True)
    assert sorted(samples) == [*range(50)] and list(samples) != [*range(50)]
    assert ends == (False,) * 49 + (True,)
    if endless:
        assert generator.steps is None
        assert all(s <= i + 5 for i, s in enumerate(samples))


def test_batches_for_fit_are_tuples_without_end():
    x, y = next(Batches(LENGTHS, 2).forfit(random=False))
    assert isinstance(x, tuple) and y.shape == (2, 1)
    (x,) = next(Unlabelled(LENGTHS, 2).forfit())
    assert isinstance(x, tuple) and len(x) == 2
    ((x, _),) = next(Batches(LENGTHS, 2).fortest())
    assert x.shape == (2, 3)
    assert len([*itertools.islice(Batches(LENGTHS, 2).forfit(), 20)]) == 20


def test_the_second_batch_differs_where_batches_vary():
    batches = Batches([3, 3, 3, 5], 1).forfit(random=False)
    assert shapes(batches, 8) == [(1, n) for n in (3, 5, 3, 3, 3, 3, 3, 5)]
    batches = Batches([3, 4, 3, 5], 1).forfit(random=False)
    assert shapes(batches, 4) == [(1, n) for n in (3, 4, 3, 5)]
    batches = Batches([3], 1).forfit()
    assert shapes(batches, 9) == [(1, 3)] * 9


@pytest.mark.parametrize("kind", [Batches, Unlabelled])
def test_fit_takes_batches_of_any_length(kind):
    a, b = (keras.Input((None,), dtype="int32", name=n) for n in "ab")
    table = keras.layers.Embedding(3, 4)
    x = keras.layers.GlobalAveragePooling1D()(table(a) + table(b))
    y = keras.layers.Dense(1)(x)
    if kind is Unlabelled:
        y = keras.layers.ActivityRegularization(l2=1.0)(y)
    model = keras.Model([a, b], y)
    model.compile("sgd", "mse" if kind is Batches else None)
    generator = kind(LENGTHS, 1)
    history = model.fit(
        generator.forfit(random=False),
        steps_per_epoch=len(generator),
        epochs=2,
        shuffle=False,
        verbose=0,
    )
    assert np.isfinite(history.history["loss"]).all()
    dataset = (
        Samples(LENGTHS, 2).to_dataset(
            [("int32", "int32"), ("float32",)],
            [([None], [None]), ([1],)],
            [("b", "a"), ("y",)],
            padded_batch=True,
        )
        if kind is Batches
        else Pairs(LENGTHS, 2).to_dataset(
            ("int32", "int32"), ([None], [None]), ("b", "a"), padded_batch=True
        )
    )
    model.fit(dataset, steps_per_epoch=3, shuffle=False, verbose=0)


class Samples(DataGenerator):
    def __iter__(self, random=False):
        for _, n in self.sample(random):
            yield [[1] * n, [2] * n], [[n]]


class Pairs(DataGenerator):
    def __iter__(self, random=False):
        for _, n in self.sample(random):
            yield [1] * n, [2] * n


def test_datasets_have_names_and_padding():
    types, sizes = (
        [("int32", "int32"), ("float32",)],
        [([None], [None]), ([1],)],
    )
    np.random.seed(0)
    dataset = Samples([3, 5], 2).to_dataset(
        types, sizes, [("a", "b"), ("y",)], padded_batch=True
    )
    x, y = next(dataset)
    assert {*x} == {"a", "b"} and x["a"].dtype == "int32"
    assert sorted(x["b"].sum(1)) == [6, 10] and x["a"].shape == (2, 5)
    assert y.shape == (2, 1) and y.dtype == "float32"
    x, y = next(Samples([3, 3], 2).to_dataset(types, sizes))
    assert isinstance(x, tuple) and isinstance(y, tuple)
    a, b = next(Pairs([3, 3], 2).to_dataset(types[0], sizes[0]))
    assert a.shape == b.shape == (2, 3)
    (x,) = next(Pairs([3, 3], 2).to_dataset(types[0], sizes[0], ("a", "b")))
    assert x["b"].tolist() == [[2, 2, 2]] * 2
