"""Article: https://kexue.fm/archives/6910"""

import importlib.util
import json
import pathlib
import sys

import keras
import numpy as np
import pytest
from keras import ops

from su_models.backend import gradient
from tests.contract import integers, normal, to_numpy

ROOT = pathlib.Path(__file__).parent.parent.parent


def example(name):
    path = ROOT / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HSIC = example("hsic_bottleneck")


def hidden(model):
    """The kernels of the hidden layers, before the last Dense."""
    return [to_numpy(w) for w in model.weights if w.shape[-1] != 10]


def fitted(method, balance, monkeypatch):
    """A small model and its hidden weights before and after a step."""
    monkeypatch.setattr(HSIC, "WIDTHS", (6, 5))
    keras.utils.set_random_seed(0)
    model = HSIC.build(method)
    for layer in model.layers:
        if isinstance(layer, HSIC.BottleneckDense):
            layer.balance = balance
    x, y = normal(12, 784), integers(10, 12)
    model.compile(
        keras.optimizers.Adam(0.01),
        [keras.losses.SparseCategoricalCrossentropy(from_logits=True), None],
        jit_compile=False,
    )
    before = hidden(model)
    hot = np.eye(10, dtype="float32")[y]
    model.fit([x, hot], [y, y], batch_size=12, verbose=0)
    return model, before, hidden(model)


def test_only_back_propagation_reaches_hidden_layers_from_the_top(monkeypatch):
    _, before, after = fitted("random hidden layers", 0, monkeypatch)
    for b, a in zip(before, after, strict=True):
        np.testing.assert_array_equal(b, a)
    _, before, after = fitted("back-propagation", 0, monkeypatch)
    assert all((b != a).any() for b, a in zip(before, after, strict=True))
    _, before, after = fitted("HSIC bottleneck", 50.0, monkeypatch)
    assert all((b != a).any() for b, a in zip(before, after, strict=True))


def test_no_gradient_crosses_a_layer():
    layer = HSIC.BottleneckDense(5)
    h, x, y = (ops.convert_to_tensor(normal(8, d)) for d in (6, 7, 3))
    layer(h, x, y)

    def loss(h):
        return layer(h, x, y) is not None and layer.losses[-1]

    assert abs(to_numpy(loss(h))) > 1e-3
    assert not to_numpy(gradient(loss, h)).any()
    assert to_numpy(loss(h)) != to_numpy(loss(2 * h))


def test_labels_are_not_read_for_the_scores():
    model = HSIC.build("HSIC bottleneck")
    x, y = normal(5, 784), np.eye(10, dtype="float32")[:5]
    scores = [ops.convert_to_numpy(model([x, t])[0]) for t in (y, 0 * y)]
    np.testing.assert_array_equal(*scores)


@pytest.mark.slow
@pytest.mark.data
def test_smoke_run_leaves_its_figures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["hsic_bottleneck.py", "--smoke"])
    HSIC.main()
    folder = tmp_path / "runs" / "smoke-hsic-bottleneck"
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert {*metrics["results"]} == {*HSIC.METHODS}
    again = keras.saving.load_model(folder / "hsic-bottleneck.keras")
    assert len(again.outputs) == 2
    assert (folder / "accuracy.png").stat().st_size > 5000
