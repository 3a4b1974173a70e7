"""Article: https://kexue.fm/archives/7169"""

import importlib.util
import json
import pathlib
import sys

import keras
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent


def example(name):
    path = ROOT / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ORTHOGONAL = example("self_orthogonality")


def test_cosines_are_those_of_filters():
    inputs = keras.Input((6, 6, 1))
    conv = keras.layers.Conv2D(3, 2, use_bias=False)
    model = keras.Model(inputs, conv(inputs))
    filters = np.array([[1, 0, 0, 0], [2, 0, 0, 0], [0, 3, 3, 0]], "float32")
    conv.kernel.assign(filters.T.reshape(2, 2, 1, 3))
    (cosines,) = ORTHOGONAL.cosines(model)
    np.testing.assert_allclose(cosines, [1, 0, 0], atol=1e-6)


@pytest.mark.parametrize("method", ORTHOGONAL.METHODS)
def test_every_convolution_has_the_regularizer(method):
    model = ORTHOGONAL.build(method)
    convolutions = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    ]
    assert len(convolutions) == 2
    for layer in convolutions:
        given = ORTHOGONAL.METHODS[method]()
        for name in ("kernel_regularizer", "activity_regularizer"):
            found = getattr(layer, name)
            assert type(found) is type(given.get(name))
        assert layer.activation is keras.activations.linear
        assert not layer.use_bias


@pytest.mark.slow
@pytest.mark.data
def test_smoke_run_leaves_its_figures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["self_orthogonality.py", "--smoke"])
    ORTHOGONAL.main()
    folder = tmp_path / "runs" / "smoke-self-orthogonality"
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert {*metrics["results"]} == {*ORTHOGONAL.METHODS}
    for picture in ("filters.png", "angles.png"):
        assert (folder / picture).stat().st_size > 5000
    again = keras.saving.load_model(folder / "model.keras")
    assert again.output_shape == (None, 10)
