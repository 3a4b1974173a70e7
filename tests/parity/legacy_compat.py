"""bert4keras' functions and layers on given arrays; `legacy.py` runs it."""

import sys


def main(source, target):
    """Reads inputs and weights, and writes what bert4keras makes of them."""
    import numpy as np
    import tensorflow as tf

    # bert4keras' optimizers extend that of TensorFlow before 2.11
    tf.keras.optimizers.Optimizer = tf.keras.optimizers.legacy.Optimizer
    try:
        from bert4keras import backend, layers, optimizers, snippets
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(77)
    with np.load(source) as arrays:
        given = dict(arrays)
    given = {k: tf.constant(v) for k, v in given.items() if "|" not in k} | {
        k: v for k, v in given.items() if "|" in k
    }
    results = {}
    x, mask, scores = given["x"], given["mask"], given["scores"]
    ids, pairs, extra = given["ids"], given["pairs"], given["extra"]
    condition, sinusoids = given["condition"], given["sinusoids"]

    # ---- functions of tensors
    f = backend.sequence_masking
    results["masking"] = f(x, mask, -1.0, 1)
    results["masking_both"] = f(scores, mask, 0.0, [2, 3])
    results["masking_bias"] = f(scores, mask, 0.0, -1, extra)
    results["masking_pairs"] = f(scores, mask, 0.0, -1, pairs[:, None])
    for method in ("softmax", "squared_relu", "softmax_plus"):
        results[f"normalize_{method}"] = backend.attention_normalize(
            scores, mask, -1, method, extra
        )
    results["gather"] = backend.batch_gather(x, ids)
    results["rotary"] = backend.apply_rotary_position_embeddings(sinusoids, x)
    results["sinusoids"] = backend.sinusoidal_embeddings(
        tf.cast(ids, "float32"), 6
    )
    multi_hot = given["multi_hot"]
    results["multilabel"] = backend.multilabel_categorical_crossentropy(
        multi_hot, x
    )
    results["sparse"] = backend.sparse_multilabel_categorical_crossentropy(
        ids, x
    )
    results["sparse_zero"] = backend.sparse_multilabel_categorical_crossentropy(
        ids, x, True
    )
    for from_zero in (True, False):
        results[f"linear_{from_zero}"] = backend.piecewise_linear(
            tf.range(10.0), {2: 1, 5: 0.1}, from_zero
        )
    results["rms"] = backend.root_mean_square(x, axis=-1)
    results["reshape"] = backend.reshape(x, (2, -1), -1)
    results["flatten"] = backend.flatten(x, 1)
    results["gelu_tanh"] = backend.gelu_tanh(x)
    results["gelu_erf"] = backend.gelu_erf(x)
    results["pool"] = backend.pool1d(x, 3, 2, "same", None, "avg")
    results["divisible"] = backend.divisible_temporal_padding(x, 4)

    # ---- layers
    def unmasked(inputs, mask):
        return None  # bert4keras' own needs masks

    def run(name, layer, inputs, **kwargs):
        layer(inputs, **kwargs)  # builds it
        count = len(layer.weights)
        layer.set_weights([given[f"{name}|{i}"] for i in range(count)])
        results[name] = layer(inputs, **kwargs)

    attention = layers.MultiHeadAttention
    sizes = {"heads": 2, "head_size": 3, "key_size": 4, "out_dim": 5}
    both = {"a_bias": True}
    qkv, masks = [x, x, x], [mask, mask, mask]
    run("plain", attention(**sizes), qkv, mask=masks)
    run("pair_mask", attention(**sizes), [*qkv, pairs], mask=masks, **both)
    run("added", attention(**sizes), [*qkv, extra], mask=masks, **both)
    wide = given["sinusoids4"]
    run(
        "rotated",
        attention(**sizes),
        [*qkv, pairs, wide],
        mask=masks,
        p_bias="rotary",
        **both,
    )
    equal = {**sizes, "key_size": 3}
    run(
        "relative",
        attention(**equal),
        [*qkv, given["relative"]],
        mask=masks,
        p_bias="typical_relative",
    )
    run(
        "t5",
        attention(**sizes),
        [*qkv, extra, given["t5_bias"]],
        mask=masks,
        p_bias="t5_relative",
        **both,
    )
    run("cross", attention(**sizes), [x, given["y"], given["y"]])
    run("unscaled", attention(attention_scale=False, **sizes), qkv)
    layer = attention(return_attention_scores=True, **sizes)
    run("scored", layer, qkv, mask=masks)
    results["scored"], results["scored_scores"] = results["scored"]

    unit = layers.GatedAttentionUnit
    run("gau", unit(5, 4), [x, pairs, wide], a_bias=True, p_bias="rotary")
    run("gau_masked", unit(5, 4, normalization="softmax_plus"), x, mask=mask)

    position = layers.PositionEmbedding
    run("position", position(9, 6), x)
    custom = position(9, 6, "mul", custom_position_ids=True)
    run("custom_position", custom, [x, tf.cast(ids, "float32")])
    run("sinusoidal", layers.SinusoidalPositionEmbedding(6, "concat"), x)
    embed = layers.RelativePositionEmbedding(5, 3)
    embed.compute_mask = unmasked
    run("relative_embedding", embed, [x, given["y"]])
    for side in (True, False):
        bias = layers.RelativePositionEmbeddingT5(8, 2, 5, side)
        bias.compute_mask = unmasked
        run(f"t5_embedding_{side}", bias, [x, given["y"]])
    norm = layers.LayerNormalization(
        conditional=True, hidden_units=3, hidden_activation="tanh"
    )
    run("norm", norm, [x, condition])
    run(
        "rms_norm",
        layers.LayerNormalization(False, True, 1e-3, offset=False),
        x,
    )
    run("max_pool", layers.GlobalMaxPooling1D(), x, mask=mask)
    run("joined", layers.Concatenate1D(), [x, given["y"]])

    # ---- optimizers
    extend = optimizers
    kinds = {
        "adam": optimizers.Adam,
        "lion": optimizers.Lion,
        "decay": extend.extend_with_weight_decay(optimizers.Adam),
        "lamb": extend.extend_with_layer_adaptation(
            extend.extend_with_weight_decay(optimizers.Adam)
        ),
        "piecewise": extend.extend_with_piecewise_linear_lr(optimizers.Adam),
        "ema": extend.extend_with_exponential_moving_average(optimizers.Adam),
    }
    arguments = {
        "adam_raw": ("adam", {"bias_correction": False}),
        "piecewise": ("piecewise", {"lr_schedule": {2: 1, 4: 0.5}}),
        "ema": ("ema", {"ema_momentum": 0.7}),
    }
    for name in [*kinds, "adam_raw"]:
        kind, kwargs = arguments.get(name, (name, {}))
        optimizer = kinds[kind](learning_rate=0.1, **kwargs)
        w = tf.Variable(given["weight"], name="kernel")
        for slope in given["slopes"]:
            optimizer.apply_gradients([(slope, w)])
        results[f"optimizer_{name}"] = w.numpy()
        if name == "ema":
            average = optimizer.ema_weights[0]
            scale = 1 - 0.7 ** len(given["slopes"])
            results["optimizer_ema_average"] = average.numpy() / scale

    # ---- decoding
    table = given["table"].numpy()

    class Decoder(snippets.AutoRegressiveDecoder):
        @snippets.AutoRegressiveDecoder.wraps("logits", use_states=True)
        def predict(self, inputs, output_ids, states):
            last = output_ids[:, -1] if output_ids.shape[1] else inputs[0][:, 0]
            logits = table[last, output_ids.shape[1] % table.shape[1]]
            return logits + 0.1 * states, states + 1

    for i, (start, minlen, width, ends) in enumerate(
        [(None, 1, 1, 1), (2, 3, 3, 1), (None, 2, 4, 2), (0, 1, 2, 1)]
    ):
        decoder = Decoder(start, 1, 7, minlen)
        results[f"beam_{i}"] = decoder.beam_search(
            [[3, 4]], width, 0, 1.3, ends
        )
        np.random.seed(i)
        for j, (k, p) in enumerate(
            [(None, None), (3, None), (None, 0.7), (4, 0.6)]
        ):
            samples = decoder.random_sample([[3, 4]], 5, k, p, 0, 0.8, ends)
            for n, sample in enumerate(samples):
                results[f"sample_{i}_{j}_{n}"] = sample
    np.savez(target, **{k: np.array(v) for k, v in results.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
