"""What every layer of su_models promises, whatever its mathematics."""

import json

import keras
import numpy as np


def to_numpy(x):
    return keras.ops.convert_to_numpy(keras.ops.cast(x, "float32"))


def check_layer(cls, init, x, folder):
    """Checks config, symbolic shape, saving, low precision and gradient."""
    layer = cls(**init)
    config = layer.get_config()
    y = to_numpy(layer(x))
    assert layer.get_config() == config, "build() must not change the config"
    copy = cls.from_config(json.loads(json.dumps(config)))
    assert copy.get_config() == config
    assert {key: config[key] for key in init} == init

    free = keras.Input((None,) * (x.ndim - 2) + x.shape[-1:])
    model = keras.Model(free, cls(**init)(free))
    for symbolic, n in zip(model.output_shape, y.shape, strict=True):
        assert symbolic in (None, n)
    model.save(folder / "model.keras")
    again = keras.saving.load_model(folder / "model.keras")
    np.testing.assert_allclose(to_numpy(model(x)), to_numpy(again(x)))

    low = cls(**init, dtype="mixed_bfloat16")(x)
    assert keras.backend.standardize_dtype(low.dtype) == "bfloat16"
    assert np.isfinite(to_numpy(low)).all()

    dense = keras.layers.Dense(x.shape[-1])
    net = keras.Sequential([dense, cls(**init)])
    net.compile("sgd", "mse")
    net.build(x.shape)
    before = to_numpy(dense.kernel)
    net.fit(x, np.ones_like(y), verbose=0)  # compiled, as users run it
    after = to_numpy(dense.kernel)
    assert np.isfinite(after).all() and (before != after).any()


def check_padding_is_ignored(layer, x, mask):
    """Alters padding only: outputs at real positions must not move."""
    noisy = np.where(mask[..., None], x, x + 5.0).astype(x.dtype)
    clean, moved = (to_numpy(layer(t, mask=mask)) for t in (x, noisy))
    np.testing.assert_allclose(clean[mask], moved[mask], atol=1e-5)
