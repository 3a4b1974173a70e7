"""bert4keras' models on random weights; `legacy.py` runs it."""

import json
import sys


def main(source, target):
    """Reads the cases of `source`; writes weights, inputs and outputs."""
    import numpy as np

    try:
        from bert4keras.models import build_transformer_model
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(77)
    with np.load(source) as arrays:
        cases = json.loads(str(arrays["cases"]))
    results = {}
    for key, case in cases.items():
        builder = build_transformer_model(
            model=case["model"],
            application=case["application"],
            return_keras_model=False,
            **prepared(case["arguments"]),
        )
        model = builder.model
        random = np.random.default_rng(11)
        model.set_weights(
            [
                w + random.normal(size=w.shape).astype("float32") * 0.15
                for w in model.get_weights()
            ]
        )
        inputs = [np.asarray(x, "float32") for x in case["inputs"]]
        if len(inputs) != len(model.inputs):
            raise ValueError(f"{key} takes {[x.name for x in model.inputs]}")
        outputs = model(inputs if len(inputs) > 1 else inputs[0])
        outputs = outputs if isinstance(outputs, list) else [outputs]
        for i, output in enumerate(outputs):
            results[f"{key}|output|{i}"] = output.numpy()
        for layer in layers(model):
            for i, w in enumerate(layer.get_weights()):
                results[f"{key}|weight|{layer.name}|{i}"] = w
        names = [layer.name for layer in layers(model)]
        results[f"{key}|names"] = np.array(names)
    np.savez(target, **results)


def prepared(arguments):
    """Returns the arguments, with a condition of the size that they give."""
    from tf_keras.layers import Input

    arguments = dict(arguments)
    size = arguments.pop("condition_size", None)
    if size:
        condition = Input((size,), name="Input-Condition")
        arguments["layer_norm_cond"] = condition
        arguments["additional_input_layers"] = [condition]
    return arguments


def layers(model):
    """Yields the layers of a model, those of models within it too."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from layers(layer)
        else:
            yield layer


if __name__ == "__main__":
    main(*sys.argv[1:])
