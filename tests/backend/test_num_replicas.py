"""How many machines share a batch."""

import keras
import pytest

from su_models.backend.num_replicas import num_replicas


def test_without_a_strategy_there_is_one():
    assert num_replicas() == 1


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow",
    reason="only TensorFlow has strategies",
)
def test_a_strategy_is_asked_inside_its_replicas():
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    seen = []
    strategy.run(lambda: seen.append(num_replicas()))
    assert seen == [strategy.num_replicas_in_sync] == [1]
    # two of them: test_averages_are_the_same_on_all_replicas
