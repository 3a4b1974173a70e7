"""Batches that TensorFlow reads without tuning its pipeline."""

import keras


def untuned(dataset):
    """Returns what `fit` is to read instead of a `PyDataset`.

    On TensorFlow `fit` reads a `keras.utils.PyDataset` through `tf.data`, whose
    thread for tuning can take half a minute to stop at the end of each epoch.
    There, the result is a `tf.data.Dataset` of the same batches that is not
    tuned; on other backends it is `dataset` itself.

    Each epoch of `fit` reads `dataset` anew, after callbacks have begun the
    epoch. Its own `on_epoch_begin` and `on_epoch_end` are not called on
    TensorFlow.

    Args:
        dataset: a `keras.utils.PyDataset` of fixed length. Its batches are
            tuples of arrays, or of dicts, tuples and lists of arrays, whose
            first axis alone may have another size in another batch.
    """
    if keras.backend.backend() != "tensorflow":
        return dataset
    import tensorflow as tf

    def batches():
        return (_tuples(dataset[i]) for i in range(len(dataset)))

    signature = keras.tree.map_structure(
        lambda x: tf.TensorSpec((None, *x.shape[1:]), x.dtype),
        _tuples(dataset[0]),
    )
    options = tf.data.Options()
    options.autotune.enabled = False
    read = tf.data.Dataset.from_generator(batches, output_signature=signature)
    read = read.apply(tf.data.experimental.assert_cardinality(len(dataset)))
    return read.prefetch(2).with_options(options)


def _tuples(batch):
    """Returns the batch with tuples for lists, which `tf.data` would stack."""
    if isinstance(batch, dict):
        return {key: _tuples(value) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return tuple(_tuples(value) for value in batch)
    return batch
