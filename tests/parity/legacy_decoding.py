"""bert4keras' beam search; `legacy.py` runs it."""

import json
import sys


def main(source, target):
    """Reads the cases of `source`; writes ids, and a model's weights."""
    import numpy as np

    try:
        from bert4keras.models import build_transformer_model
        from bert4keras.snippets import AutoRegressiveDecoder
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(77)

    class OfTable(AutoRegressiveDecoder):
        """The scores depend on the step and the token before."""

        @AutoRegressiveDecoder.wraps(default_rtype="logits")
        def predict(self, inputs, output_ids, states):
            table, start = inputs
            step = output_ids.shape[1]
            if not step:
                return table[0][:1, start[0]]
            return table[0][step][output_ids[:, -1]]

    class OfModel(AutoRegressiveDecoder):
        """A UniLM, as the author's scripts decode it."""

        @AutoRegressiveDecoder.wraps(default_rtype="probas")
        def predict(self, inputs, output_ids, states):
            tokens, segments = inputs
            tokens = np.concatenate([tokens, output_ids], 1)
            new = np.ones_like(output_ids)
            segments = np.concatenate([segments, new], 1)
            return self.last_token(model).predict([tokens, segments], verbose=0)

    with np.load(source) as arrays:
        cases = json.loads(str(arrays["cases"]))
        sizes = json.loads(str(arrays["sizes"]))
        tables, prompts = arrays["tables"], arrays["prompts"]
    model = build_transformer_model(**sizes)
    random = np.random.default_rng(5)
    model.set_weights(
        [
            w + random.normal(size=w.shape).astype("float32") * 0.25
            for w in model.get_weights()
        ]
    )
    results = {}
    for layer in model.layers:
        for i, w in enumerate(layer.get_weights()):
            results[f"|weight|{layer.name}|{i}"] = w
    for key, case in cases.items():
        options = {k: case[k] for k in ("end_id", "maxlen", "minlen")}
        table = OfTable(start_id=None, **options)
        results[f"{key}|table"] = padded(
            [
                # bert4keras repeats its inputs, for each beam
                table.beam_search([scores, case["start"]], case["topk"])
                for scores in tables
            ],
            case["maxlen"],
        )
        decoder = OfModel(start_id=None, **options)
        results[f"{key}|model"] = padded(
            [
                decoder.beam_search([p, np.zeros_like(p)], case["topk"])
                for p in prompts
            ],
            case["maxlen"],
        )
    np.savez(target, **results)


def padded(rows, length):
    """Returns rows of ids, with 0 after their end."""
    import numpy as np

    return np.array([[*row, *[0] * (length - len(row))] for row in rows])


if __name__ == "__main__":
    main(*sys.argv[1:])
