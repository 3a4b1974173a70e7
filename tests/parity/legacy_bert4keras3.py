"""What padding changes in bert4keras3's models; `legacy.py` runs it."""

import json
import os
import sys


def main(source, target):
    """Reads the cases of `source`; writes an error, or why there is none."""
    os.environ["KERAS_BACKEND"] = "tensorflow"  # and not Keras 2
    os.environ |= {"TF_KERAS": "0", "TF_USE_LEGACY_KERAS": "0"}
    import numpy as np

    try:
        from bert4keras3.models import build_transformer_model
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(77)
    with np.load(source) as arrays:
        cases = json.loads(str(arrays["cases"]))
        arrays = dict(arrays)
    results = {}
    for key, case in cases.items():
        try:
            model = build_transformer_model(**case["arguments"])
            results[key] = change(model, case["inputs"], arrays)
        except Exception as error:
            words = " ".join(f"{type(error).__name__}: {error}".split())
            results[key] = words[:200]
    np.savez(target, **results)


def change(model, names, arrays):
    """Returns the largest change of a real token, of the largest output."""
    import numpy as np

    random = np.random.default_rng(11)
    weights = [
        # of what it began with only the ones of γ remain
        np.round(w) + random.normal(scale=0.15, size=w.shape)
        for w in model.get_weights()
    ]
    model.set_weights(weights)
    plain, padded = (
        np.asarray(model(inputs if len(inputs) > 1 else inputs[0]))
        for inputs in (
            [arrays[f"{kind}|{name}"] for name in names]
            for kind in ("plain", "padded")
        )
    )
    padded = padded[:, : plain.shape[1]]
    return np.abs(padded - plain).max() / np.abs(plain).max()


if __name__ == "__main__":
    main(*sys.argv[1:])
