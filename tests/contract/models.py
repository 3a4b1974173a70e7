"""What every model builder promises."""

import keras
import numpy as np

from tests.contract.base import (
    arguments,
    as_json,
    check_fit,
    flat,
    global_policy,
    one_or_list,
    to_numpy,
)


def check_model(build, init, inputs, folder, targets=True):
    """Checks what a model builder returns; arguments are those of `Case`."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    model = build(**arguments(init))
    model.save(folder / "model.keras")
    again = keras.saving.load_model(folder / "model.keras")
    assert as_json(again.get_config()) == as_json(model.get_config())
    for w, v in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(w), to_numpy(v))
    with global_policy("mixed_bfloat16"):
        low = build(**arguments(init))
    for y in flat(low.predict(one_or_list(inputs), verbose=0)):
        assert np.isfinite(y.astype("float32")).all()
    for policy in ("float32", "mixed_float16"):
        with global_policy(policy):
            model = build(**arguments(init))
        check_fit(
            model,
            inputs,
            len(model.outputs) if targets else 0,
            # TensorFlow's XLA takes its time over a model: once is enough
            eager=policy == "mixed_float16"
            and keras.config.backend() == "tensorflow",
        )
