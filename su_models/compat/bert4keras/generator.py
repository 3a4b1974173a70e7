"""bert4keras' template of data generators, in a form that Keras 3 takes."""

import itertools

import numpy as np

from su_models.text.pad_sequences import pad_sequences
from su_models.utils.checks import check_size

# batches that are made in advance to find two of different shapes
_AHEAD = 8


class DataGenerator:
    """Base of generators of batches, which define `__iter__`.

    A subclass defines `__iter__(self, random=False)`, which takes the samples
    from `self.sample(random)` and yields batches: a pair of inputs and
    targets, with None as targets if the model's own layers add its loss.

    Args:
        data: list of samples, or an iterable without a length, which is
            iterated anew in each epoch.
        batch_size: int > 0.
        buffer_size: int > 0. Number of samples of an iterable that are
            shuffled among each other. Defaults to 1000 batches.
    """

    def __init__(self, data, batch_size=32, buffer_size=None):
        self.data = data
        self.batch_size = check_size("batch_size", batch_size)
        self.buffer_size = buffer_size or batch_size * 1000
        self.steps = None
        if hasattr(data, "__len__"):
            self.steps = -(-len(data) // batch_size)

    def __len__(self):
        return self.steps

    def sample(self, random=False):
        """Yields pairs of "is this the last sample?" and a sample."""
        samples = self._shuffled() if random else iter(self.data)
        for current, following in itertools.pairwise(
            itertools.chain(samples, [_END])
        ):
            yield following is _END, current

    def _shuffled(self):
        if self.steps is not None:
            for i in np.random.permutation(len(self.data)):
                yield self.data[i]
            return
        buffer = []
        for item in self.data:
            buffer.append(item)
            if len(buffer) > self.buffer_size:
                yield buffer.pop(np.random.randint(len(buffer)))
        while buffer:
            yield buffer.pop(np.random.randint(len(buffer)))

    def __iter__(self, random=False):
        raise NotImplementedError(f"{type(self).__name__}.__iter__")

    def forfit(self, random=True):
        """Yields batches without end, for `fit(..., shuffle=False)`.

        The data are shuffled here; `fit` warns if it should shuffle as well.
        Keras 3 takes tuples, and learns from the first two batches which axes
        vary. So lists become tuples, targets of None are left out, and if the
        first two batches are alike in an axis in which a later one of the
        first eight differs, that one comes second.
        """
        batches = (_as_tuples(batch) for batch in self._endless(random))
        yield from _varied(batches)

    def fortest(self, random=False):
        """Yields the inputs of batches without end, for `predict`."""
        for inputs, *_ in self.forfit(random):
            yield (inputs,)

    def _endless(self, random):
        while True:
            yield from self.__iter__(random)

    def to_dataset(self, types, shapes, names=None, padded_batch=False):
        """Yields batches without end, of a generator that yields samples.

        Differs: the result is a generator of NumPy arrays on every backend,
        not a `tf.data.Dataset`; `fit` takes it in the same way.

        Args:
            types: dtypes of the arrays of a sample: a tuple of str, or a
                list of tuples for inputs and targets.
            shapes: their shapes in the same structure; None in a shape is an
                axis that varies.
            names: optional names of the arrays in the same structure; a batch
                then consists of dicts.
            padded_batch: bool. Whether the axes of size None are padded.
        """
        of_pairs = isinstance(types[0], (list, tuple))
        if not of_pairs:
            types, shapes, names = [types], [shapes], names and [names]

        def batches():
            samples = self._endless(random=True)
            while True:
                rows = list(itertools.islice(samples, self.batch_size))
                rows = rows if of_pairs else [[row] for row in rows]
                parts = [
                    _stacked([row[i] for row in rows], *one, padded_batch)
                    for i, one in enumerate(zip(types, shapes, strict=True))
                ]
                if names:
                    parts = [*map(_named, parts, names, [False, True])]
                yield tuple(parts) if of_pairs or names else parts[0]

        yield from _varied(batches())


_END = object()


def _stacked(rows, dtypes, shapes, padded):
    """Returns a tuple of arrays, each of one entry of all rows."""
    columns = zip(*rows, strict=True)
    arrays = []
    for column, dtype, shape in zip(columns, dtypes, shapes, strict=True):
        if padded and None in shape:
            column = pad_sequences(column, seq_dims=len(shape))
        arrays.append(np.asarray(column, dtype))
    return tuple(arrays)


def _named(arrays, names, are_targets):
    """Returns a dict of arrays; Keras 3 takes none for a single target."""
    if are_targets and len(arrays) == 1:
        return arrays[0]
    return dict(zip(names, arrays, strict=True))


def _as_tuples(batch):
    """Returns a batch as a tuple of arrays, or of tuples of arrays."""
    parts = [
        tuple(part) if isinstance(part, list) else part
        for part in (batch if isinstance(batch, (list, tuple)) else [batch])
    ]
    while len(parts) > 1 and parts[-1] is None:
        parts.pop()
    return tuple(parts)


def _varied(batches):
    """Yields batches, of which the first two differ where any two differ.

    Args:
        batches: an iterator.
    """
    first = list(itertools.islice(batches, _AHEAD))
    shapes = [_sizes(batch) for batch in first]
    different = [
        sum(a != b for a, b in zip(shapes[0], sizes, strict=False))
        for sizes in shapes
    ]
    second = int(np.argmax(different)) if first else 0
    if len(first) > 1 and different[1] < different[second]:
        first.insert(1, first.pop(second))
    yield from first
    yield from batches


def _sizes(batch):
    """Returns the sizes of all axes of a batch but the first ones."""
    arrays = []
    for part in batch:
        if isinstance(part, dict):
            part = tuple(part.values())
        arrays += part if isinstance(part, tuple) else [part]
    return [size for x in arrays for size in np.shape(x)[1:]]
