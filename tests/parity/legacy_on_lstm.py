"""keras-ordered-neurons on given arrays; `legacy.py` runs it."""

import sys
import types


def main(source, target):
    """Reads `source`, and writes outputs, states, distances and a gradient."""
    import numpy as np
    import tensorflow as tf

    try:
        from tf_keras.src import backend

        # all that it takes from a module `keras`, which must not be Keras 3
        sys.modules["keras"] = types.ModuleType("keras")
        sys.modules["keras"].backend = backend
        from keras_ordered_neurons import ONLSTM
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(77)
    with np.load(source) as arrays:
        x, mask, direction = (arrays[k] for k in ("x", "mask", "direction"))
        weights = [arrays[k] for k in ("kernel", "recurrent_kernel", "bias")]
        levels = int(arrays["levels"])
    units = len(weights[1])

    def given(weight):
        # not by set_weights: eager, it slices its kernels once, in build()
        return lambda shape, **_: tf.constant(weight, shape=shape)

    arguments = {
        "units": units,
        "chunk_size": units // levels,
        "recurrent_activation": "sigmoid",
        "kernel_initializer": given(weights[0]),
        "recurrent_initializer": given(weights[1]),
        "bias_initializer": given(weights[2]),
        "unit_forget_bias": False,
        "return_sequences": True,
        "return_state": True,
    }
    layer = ONLSTM(**arguments)
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs, h, c = layer(x, mask=tf.constant(mask))
        score = tf.reduce_sum(outputs * direction)
    gradient = tape.gradient(score, x)
    # its splits are levels minus the sum of f̃, and the sum of ĩ
    arguments["return_state"] = False
    splitting = ONLSTM(return_splits=True, **arguments)
    _, splits = splitting(x, mask=tf.constant(mask))
    results = {"outputs": outputs, "h": h, "c": c, "gradient": gradient}
    results["distances"] = splits[..., 0] / levels
    np.savez(target, **{k: v.numpy() for k, v in results.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
