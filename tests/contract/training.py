"""What every training wrapper promises."""

import keras
import numpy as np
import pytest

from tests.contract.base import (
    JIT,
    arguments,
    as_json,
    assert_equal,
    global_policy,
    integers,
    to_numpy,
)


def check_training_wrapper(cls, init, folder, step=None):
    """Checks what wraps a model: other weights by `fit`, all else the same.

    `step` turns a batch `(x, y)` of numbers into what `fit` is given.
    """
    step = step or (lambda x, y: (x, y))
    wrapper, model = _wrapped(cls, init)
    _check_json_config(cls, wrapper)
    config = wrapper.get_config()
    for key, value in arguments(init).items():
        assert as_json(config[key]) == as_json(value), key
    for name in ("weights", "trainable_variables"):
        ours, its = getattr(wrapper, name), getattr(model, name)
        assert [*map(id, ours)] == [*map(id, its)], f"other {name}"
    x, y = integers(9, 4, 7), integers(3, 4)
    np.testing.assert_array_equal(
        wrapper.predict(x, verbose=0), model.predict(x, verbose=0)
    )

    net, inner = _wrapped(cls, init)
    before = [to_numpy(w).copy() for w in inner.trainable_variables]
    _compile_wrapper(net, jit=True)
    history = _fit_wrapper(net, step).history
    assert {*history} == {"accuracy", "loss"}
    _check_moved(inner, before, history)

    # resumed equals uninterrupted
    net.save(folder / "wrapper.keras")
    again = keras.saving.load_model(folder / "wrapper.keras")
    assert type(again) is cls
    _check_json_config(cls, again)
    for one in again, net:
        _compile_wrapper(one, optimizer=one.optimizer)
        keras.utils.set_random_seed(6)  # of PyTorch
        for v in one.variables:
            if "seed" in v.path:  # Keras does not save these
                v.assign(np.ones(v.shape, v.dtype))
        _fit_wrapper(one, step)
    assert_equal(
        *([[to_numpy(v) for v in one.variables]] for one in (again, net))
    )

    for model in net, inner:
        _compile_wrapper(model)
    for a, b in zip(
        net.evaluate(x, y, verbose=0),
        inner.evaluate(x, y, verbose=0),
        strict=True,
    ):
        assert a == pytest.approx(b, rel=1e-5), "it evaluates otherwise"

    for policy in ("mixed_bfloat16", "mixed_float16"):
        with global_policy(policy):
            net, inner = _wrapped(cls, init)
        before = [to_numpy(w).copy() for w in inner.trainable_variables]
        _compile_wrapper(net)
        history = _fit_wrapper(net, step, epochs=3).history
        _check_moved(inner, before, history)

    for wrong in (None, keras.layers.Dense(2), keras.Sequential(), wrapper):
        with pytest.raises(ValueError, match="`model` must be .*Received: "):
            cls(wrong, **arguments(init))


def _wrapped(cls, init):
    """Returns a wrapper and its model, a classifier of seven tokens."""
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(9, 4, mask_zero=True, name="tokens")(ids)
    x = keras.layers.Dropout(0.2, seed=3)(x)
    x = keras.layers.GlobalAveragePooling1D()(x)
    model = keras.Model(ids, keras.layers.Dense(3, "softmax")(x))
    return cls(model, **arguments(init)), model


def _compile_wrapper(net, jit=False, optimizer=None):
    if optimizer is None:
        optimizer = keras.optimizers.Adam(1e-2)
        if net.dtype_policy.name == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, 2.0**4)
    loss = keras.losses.SparseCategoricalCrossentropy()
    jit = JIT and (jit or keras.config.backend() == "jax")
    net.compile(
        optimizer,
        loss,
        metrics=["accuracy"],
        jit_compile=jit,
        # TensorFlow takes its time over graphs too: one jitted fit is enough
        run_eagerly=keras.config.backend() == "tensorflow" and not jit,
    )


def _check_moved(model, before, history):
    assert np.isfinite(history["loss"]).all()
    for w, b in zip(model.trainable_variables, before, strict=True):
        assert np.isfinite(to_numpy(w)).all(), w.path
        assert (to_numpy(w) != b).any(), f"no gradient reached {w.path}"


def _fit_wrapper(net, step, epochs=1):
    batch = step(integers(9, 4, 7), integers(3, 4))
    return net.fit(_Batches([batch]), epochs=epochs, verbose=0)


class _Batches(keras.utils.PyDataset):
    """The given batches, whatever a batch is."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, i):
        return self.batches[i]


def _check_json_config(cls, wrapper):
    config = as_json(wrapper.get_config())
    assert as_json(cls.from_config(config).get_config()) == config
