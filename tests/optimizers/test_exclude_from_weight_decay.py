"""Article: https://kexue.fm/archives/7094"""

import keras
import numpy as np
import pytest
from keras import ops
from keras.optimizers import SGD, AdamW

from su_models.optimizers import (
    ExcludeFromWeightDecay,
    LazyOptimizer,
    Lookahead,
)
from tests.optimizers.sparse import (
    DIM,
    JITS,
    START,
    TARGETS,
    gradient,
    near,
    table,
    to_numpy,
)


def variables():
    layers = [
        keras.layers.Dense(2, name="dense"),
        keras.layers.LayerNormalization(name="norm"),
    ]
    for layer in layers:
        layer.build((3, 4))
    found = [v for layer in layers for v in layer.weights]
    for v in found:
        v.assign(np.ones(v.shape))
    return found


def test_only_what_no_pattern_finds_decays():
    optimizer = ExcludeFromWeightDecay(
        SGD(0.1, weight_decay=0.5), ["bias$", "norm/"]
    )
    found = variables()
    assert [v.path for v in found] == [
        "dense/kernel",
        "dense/bias",
        "norm/gamma",
        "norm/beta",
    ]
    optimizer.apply([ops.zeros(v.shape) for v in found], found)
    near(found, [np.full((4, 2), 0.95), *(np.ones(v.shape) for v in found[1:])])


@pytest.mark.parametrize("jit", JITS)
def test_patterns_are_saved_with_the_model(jit, tmp_path):
    inputs = keras.Input((DIM,))
    hidden = keras.layers.Dense(4, name="hidden", bias_initializer="ones")
    model = keras.Model(inputs, keras.layers.Dense(DIM)(hidden(inputs)))
    inner = AdamW(1e-9, weight_decay=1e8)  # decays by a tenth, hardly learns
    model.compile(
        ExcludeFromWeightDecay(inner, ["hidden"]), "mse", jit_compile=jit
    )
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    before = [to_numpy(w).copy() for w in again.weights]
    again.fit(TARGETS, TARGETS, batch_size=28, verbose=0)
    after = [to_numpy(w) for w in again.weights]
    near(after, [before[0], before[1], 0.9 * before[2], 0.9 * before[3]], 1e-5)


@pytest.mark.parametrize(
    "wrap", [LazyOptimizer, lambda o: Lookahead(o, slow_step_size=1.0)]
)
@pytest.mark.parametrize("outside", [False, True])
def test_nests(wrap, outside):
    def exclude(optimizer):
        return ExcludeFromWeightDecay(optimizer, ["embed"])

    inner = SGD(0.1, weight_decay=0.5)
    optimizer = exclude(wrap(inner)) if outside else wrap(exclude(inner))
    weight, kernel = table(), keras.Variable([1.0], name="kernel")
    grads = [gradient([1, 4], np.full((2, DIM), 1e-20)), ops.zeros(1)]
    optimizer.apply(grads, [weight, kernel])
    near([weight, kernel], [START, [0.95]])


@pytest.mark.parametrize("exclude", [[], None, "bias", [3], ["("]])
def test_patterns_are_a_list_of_expressions(exclude):
    with pytest.raises(ValueError, match="Received: exclude="):
        ExcludeFromWeightDecay(SGD(), exclude)


def test_a_pattern_that_matches_nothing_lists_the_paths():
    optimizer = ExcludeFromWeightDecay(SGD(), ["bias", "Norm"])
    with pytest.raises(ValueError, match=r"'norm/gamma'.*'Norm'"):
        optimizer.build(variables())


def test_arguments_of_the_inner_optimizer_are_refused():
    with pytest.raises(ValueError, match="Received: weight_decay=0.1"):
        ExcludeFromWeightDecay(SGD(), ["a"], weight_decay=0.1)
