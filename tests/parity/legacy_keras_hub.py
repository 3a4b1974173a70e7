"""keras-hub's RoFormerV2, alone and with padding; `legacy.py` runs it."""

import json
import os
import sys


def main(source, target):
    """Reads `source`; writes weights by our layers, and both outputs."""
    os.environ["KERAS_BACKEND"] = "tensorflow"  # and not Keras 2
    os.environ |= {"TF_KERAS": "0", "TF_USE_LEGACY_KERAS": "0"}
    import numpy as np

    try:
        from keras_hub.models import RoformerV2Backbone
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(77)
    with np.load(source) as arrays:
        sizes = json.loads(str(arrays["sizes"]))
        ids, segments = arrays["ids"], arrays["segments"]
        padding = int(arrays["padding"])
    model = RoformerV2Backbone(**sizes)
    random, results = np.random.default_rng(11), {}
    for path, weight in zip(names(sizes), model.weights, strict=True):
        if path is None:  # γ = 1: the original has none
            continue
        weight.assign(random.normal(scale=0.15, size=weight.shape))
        results[f"weight|{path}"] = weight.numpy()
    for name, count in (("plain", 0), ("padded", padding)):
        tokens, kinds = (
            np.pad(x, [(0, 0), (0, count)]) for x in (ids, segments)
        )
        inputs = {"token_ids": tokens, "segment_ids": kinds}
        results[name] = model(inputs).numpy()
    np.savez(target, **results)


def names(sizes):
    """Yields our layer and the number of its weight, or None for a norm."""
    yield from ("Embedding-Token|0", "Embedding-Segment|0", None)
    for i in range(sizes["num_layers"]):
        block = f"Transformer-{i}"
        for number in range(4):
            yield f"{block}-MultiHeadSelfAttention|{number}"
        yield from (f"{block}-FeedForward|{number}" for number in range(2))
        yield from (None, None)


if __name__ == "__main__":
    main(*sys.argv[1:])
