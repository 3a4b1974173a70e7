"""The number of replicas that share a batch."""

import keras


def num_replicas():
    """Returns the number of replicas that compute this step.

    Under `tf.distribute` a layer receives its replica's part of a batch.
    Otherwise it receives the whole batch: `keras.distribution` divides arrays,
    not code.
    """
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return tf.distribute.get_strategy().num_replicas_in_sync
