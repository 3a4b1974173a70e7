"""bert4keras' BERT from our checkpoint, and a checkpoint of its own.

`legacy.py` runs it. It is given two prefixes, a configuration and inputs:
outputs of the checkpoint at the first prefix are returned; then a checkpoint
of other weights is written to the second, and their outputs are returned.
"""

import json
import sys


def main(source, target):
    """Reads `source`, and writes outputs, and a checkpoint."""
    import numpy as np

    try:
        from bert4keras.models import build_transformer_model
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(77)
    with np.load(source) as arrays:
        ours, theirs, config = (
            str(arrays[key]) for key in ("ours", "theirs", "config")
        )
        inputs = [arrays["ids"].astype("f"), arrays["segments"].astype("f")]
        options = json.loads(str(arrays["options"]))

    def outputs():
        found = builder.model(inputs)
        found = found if isinstance(found, list) else [found]
        return [x.numpy() for x in found]

    builder = build_transformer_model(
        config, ours, return_keras_model=False, **options
    )
    results = {f"ours{i}": x for i, x in enumerate(outputs())}
    random = np.random.default_rng(5)
    builder.model.set_weights(
        [
            random.normal(scale=0.3, size=w.shape)
            for w in builder.model.get_weights()
        ]
    )
    results |= {f"theirs{i}": x for i, x in enumerate(outputs())}
    save(builder, theirs)
    np.savez(target, **results)


def save(builder, path):
    """What `save_weights_as_checkpoint` does, which needs no eager mode."""
    import tensorflow as tf

    v1, values = tf.compat.v1, {}
    for layer, names in builder.variable_mapping().items():
        if layer in builder.layers:
            weights = builder.layers[layer].get_weights()
            values |= dict(zip(names, weights, strict=False))
    name = "cls/seq_relationship/output_weights"
    if name in values:
        values[name] = values[name].T
    with tf.Graph().as_default(), v1.Session() as session:
        saver = v1.train.Saver(
            [v1.Variable(w, name=name) for name, w in values.items()]
        )
        session.run(v1.global_variables_initializer())
        saver.save(session, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
