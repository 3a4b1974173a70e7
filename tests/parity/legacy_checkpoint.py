"""bert4keras' models from our checkpoints, and checkpoints of its own.

`legacy.py` runs it. It is given cases: a model with its configuration, two
prefixes and inputs. Outputs of the checkpoint at the first prefix are
returned; then a checkpoint of other weights is written to the second, if there
is one, read again, and their outputs are returned.
"""

import json
import sys


def main(source, target):
    """Reads `source`, and writes outputs, and checkpoints."""
    import numpy as np

    try:
        from bert4keras.models import build_transformer_model
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(77)
    with np.load(source) as arrays:
        cases = json.loads(str(arrays["cases"]))
        arrays = dict(arrays)
    results = {}
    for key, case in cases.items():
        inputs = [arrays[name].astype("f") for name in case["inputs"]]
        builder = build_transformer_model(
            case["config"],
            case["ours"],
            case["model"],
            return_keras_model=False,
            **case["options"],
        )
        model = builder.model
        for i, x in enumerate(outputs(model, inputs)):
            results[f"{key}|ours|{i}"] = x
        if case["theirs"] is None:
            continue
        random = np.random.default_rng(5)
        model.set_weights(
            [
                random.normal(scale=0.3, size=w.shape)
                for w in model.get_weights()
            ]
        )
        save(builder, case["theirs"])
        model = build_transformer_model(
            case["config"], case["theirs"], case["model"], **case["options"]
        )
        for i, x in enumerate(outputs(model, inputs)):
            results[f"{key}|theirs|{i}"] = x
    np.savez(target, **results)


def outputs(model, inputs):
    """Returns a list of arrays."""
    found = model(inputs if len(inputs) > 1 else inputs[0])
    found = found if isinstance(found, list) else [found]
    return [x.numpy() for x in found]


def save(builder, path):
    """What `save_weights_as_checkpoint` does, which needs no eager mode."""
    import tensorflow as tf

    v1, values = tf.compat.v1, {}
    for layer, names in builder.variable_mapping().items():
        if layer in builder.layers:
            weights = builder.layers[layer].trainable_weights
            arrays = [w.numpy() for w in weights]
            values |= dict(zip(names, arrays, strict=False))
    for name in values:
        if name.endswith(("output_weights", "relative_attention_bias")):
            values[name] = values[name].T
    with tf.Graph().as_default(), v1.Session() as session:
        saver = v1.train.Saver(
            [v1.Variable(w, name=name) for name, w in values.items()]
        )
        session.run(v1.global_variables_initializer())
        saver.save(session, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
