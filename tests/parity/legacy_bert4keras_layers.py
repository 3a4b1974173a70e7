"""Layers of bert4keras on given arrays; `legacy.py` runs it."""

import sys


def main(source, target):
    """Reads weights and inputs, and writes outputs and gradients."""
    import numpy as np
    import tensorflow as tf

    try:
        from bert4keras import layers
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(77)
    with np.load(source) as arrays:
        given = dict(arrays)
    x, mask, c = (tf.constant(given[k]) for k in ("x", "mask", "condition"))
    results = {}

    def weights_of(name):
        keys = sorted(k for k in given if k.startswith(f"{name}|"))
        return [given[k] for k in keys]

    def run(name, layer, inputs, score=None, **kwargs):
        """One forward pass, and the gradients of a score."""
        layer(inputs, **kwargs)  # builds it
        layer.set_weights(weights_of(name))
        watched = [x, *layer.trainable_weights]
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(inputs, **kwargs)
            value = score(y) if score else tf.reduce_sum(tf.square(y))
        results[f"{name}|y"] = y
        results[f"{name}|value"] = value
        for i, slope in enumerate(tape.gradient(value, watched)):
            results[f"{name}|slope{i}"] = tf.convert_to_tensor(slope)
        return layer, y

    run("one", layers.FeedForward(10, "gelu"), x)
    run("gated", layers.FeedForward(10, ["gelu", "linear"], False), x)
    run("affine", layers.ScaleOffset(), x)
    run("constant", layers.ScaleOffset(scale=0.3, offset=False), x)
    conditional = layers.ScaleOffset(
        conditional=True, hidden_units=3, hidden_activation="tanh"
    )
    run("conditional", conditional, [x, c])

    embedding = layers.Embedding(9, x.shape[-1], mask_zero=True)
    ids = tf.constant(given["ids"])
    embedding(ids)
    embedding.set_weights(weights_of("embedding"))
    results["embedding|y"] = embedding(ids)
    results["embedding|mask"] = embedding.compute_mask(ids)
    results["embedding|logits"] = embedding(x, mode="dense")

    labels = tf.constant(given["labels"])
    taggers = {
        "crf": layers.ConditionalRandomField(),
        "fast_crf": layers.ConditionalRandomField(lr_multiplier=7),
        "memm": layers.MaximumEntropyMarkovModel(),
        "low_rank": layers.MaximumEntropyMarkovModel(7, hidden_dim=2),
    }
    for name, layer in taggers.items():
        layer, y = run(
            name,
            layer,
            x,
            lambda y, layer=layer: tf.reduce_mean(layer.sparse_loss(labels, y)),
            mask=mask,
        )
        results[f"{name}|accuracy"] = layer.sparse_accuracy(labels, y)

    pointers = {
        "pointer": layers.GlobalPointer(3, 4),
        "plain_pointer": layers.GlobalPointer(3, 4, False, False, False),
        "efficient": layers.EfficientGlobalPointer(3, 4),
        "plain_efficient": layers.EfficientGlobalPointer(
            3, 4, False, False, False
        ),
    }
    for name, layer in pointers.items():
        run(
            name,
            layer,
            x,
            lambda y: tf.reduce_sum(tf.where(y > -1e9, tf.square(y), 0.0)),
            mask=mask,
        )
    np.savez(target, **{k: v.numpy() for k, v in results.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
