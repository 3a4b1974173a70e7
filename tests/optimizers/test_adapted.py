"""Copies that step differently, alone and one within the other."""

import keras
import pytest
from keras import ops
from keras.optimizers import SGD

from su_models.backend.sparse_rows import RowView
from su_models.optimizers import Lookahead
from su_models.optimizers.adapted import adapted, check_patterns
from tests.optimizers.sparse import near


class _Longer:
    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient * self.times, variable, learning_rate)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        if hasattr(self, "_parallel_update_step"):  # PyTorch
            grads = [g * self.times for g in grads]
        super()._backend_update_step(grads, trainable_variables, learning_rate)


class _Farther:
    def _clip_gradients(self, grads):
        return [g * self.factor for g in super()._clip_gradients(grads)]


def test_a_copy_steps_the_variables_of_the_original():
    x, inner = keras.Variable([1.0]), SGD(0.1, momentum=0.5)
    inner.build([x])
    adapted(inner, _Longer, times=3.0).apply([ops.ones(1)], [x])
    near([x, inner.momentums[0], inner.iterations], [[0.7], [-0.3], 1])
    inner.apply([ops.zeros(1)], [x])  # goes on, as itself
    near([x, inner.iterations], [[0.55], 2])


def test_what_wraps_others_hands_it_on():
    x, y = keras.Variable([1.0], name="x"), keras.Variable([1.0], name="y")
    choice = keras.optimizers.OptimizerMap(SGD(0.1), {"x": SGD(0.2)})
    optimizer = Lookahead(keras.optimizers.MultiOptimizer(choice), 1)
    optimizer.build([x, y])
    copied = adapted(optimizer, _Longer, times=2.0)
    copied.apply([ops.ones(1), ops.ones(1)], [x, y])
    near([x, y, optimizer.iterations], [[0.8], [0.9], 1])


def test_mixins_add_up():
    x, inner = keras.Variable([1.0]), SGD(0.1)
    inner.build([x])
    once = adapted(inner, _Longer, times=3.0)
    adapted(once, _Farther, factor=2.0).apply([ops.ones(1)], [x])
    near([x], [[0.4]])
    assert type(inner) is not type(once) and isinstance(once, type(inner))
    assert type(once) is type(adapted(inner, _Longer, times=1.0))


def test_the_same_mixin_counts_once():
    x, inner = keras.Variable([1.0]), SGD(0.1)
    inner.build([x])
    once = adapted(inner, _Longer, times=3.0)
    adapted(once, _Longer, times=3.0).apply([ops.ones(1)], [x])
    near([x], [[0.7]])
    with pytest.raises(ValueError, match="twice.*Received: .*3.0.* and .*2.0"):
        adapted(once, _Longer, times=2.0)


def test_views_are_stepped_and_decayed_like_their_variables():
    x, inner = keras.Variable([[1.0], [2.0]]), SGD(0.1, weight_decay=0.5)
    inner.build([x])
    copied, view = adapted(inner, _Longer, times=1.0), RowView(x)
    copied._apply_weight_decay([view])
    near([view.value, x], [[[0.95], [1.9]], [[1.0], [2.0]]])
    copied._apply_weight_decay([])
    inner.exclude_from_weight_decay(var_list=[x])
    adapted(inner, _Longer)._apply_weight_decay([view])
    near([view.value], [[[0.95], [1.9]]])


def test_patterns():
    x = keras.Variable(1.0, name="kernel")
    check_patterns(["ker.*l$", ""], "exclude", [x])
    for patterns in (["("], [None], [b"a"]):
        with pytest.raises(ValueError, match="Received: exclude="):
            check_patterns(patterns, "exclude", [x])
    with pytest.raises(ValueError, match=r"\['kernel'\]. Received: exclude="):
        check_patterns(["bias"], "exclude", [x])
