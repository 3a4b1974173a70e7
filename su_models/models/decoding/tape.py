"""A record of the calls of a functional model."""

import dataclasses
import inspect

import keras
from keras import tree


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a layer, or of another operation, on symbolic tensors."""

    operation: keras.Operation
    args: tuple
    kwargs: dict
    outputs: object  # nested symbolic tensors

    @property
    def name(self):
        """Name of the layer."""
        return self.operation.name

    @property
    def arguments(self):
        """All arguments by their names, a dict."""
        signature = inspect.signature(self.operation.call)
        return dict(signature.bind(*self.args, **self.kwargs).arguments)

    @property
    def inputs(self):
        """The symbolic tensors among the arguments, a list."""
        return symbolic((self.args, self.kwargs))


@dataclasses.dataclass(frozen=True)
class Tape:
    """The calls of a functional model in their order.

    inputs, outputs: the model's symbolic tensors, lists.
    calls: list of `Call`.
    """

    inputs: list
    calls: list
    outputs: list

    def needed(self, tensors):
        """Returns the calls that symbolic tensors depend on, in order."""
        wanted, found = {id(x) for x in tensors}, []
        for call in reversed(self.calls):
            if wanted & {id(x) for x in tree.flatten(call.outputs)}:
                found.append(call)
                wanted |= {id(x) for x in call.inputs}
        return found[::-1]


def record(model):
    """Records the calls of a functional model, which is not changed.

    `keras.models.clone_model` shows every call to its `call_function`; here it
    clones nothing, so the calls are of the model's own layers.

    Args:
        model: a functional `keras.Model`, also one that was restored from a
            file.

    Returns:
        A `Tape`.

    Raises:
        ValueError: if the model is not functional.
    """
    inputs = getattr(model, "inputs", None)
    if (
        not isinstance(model, keras.Model)
        or isinstance(model, keras.Sequential)
        or not inputs
    ):
        raise ValueError(
            "`model` must be a functional keras.Model. "
            f"Received: model={model!r}"
        )
    calls, computed = [], set()

    def call(operation, *args, **kwargs):
        outputs = operation(*args, **kwargs)
        if isinstance(operation, keras.layers.Layer):
            # Keras recorded some masks, which it attaches anew in a replay
            kwargs = {
                name: x
                for name, x in kwargs.items()
                if not (_is_implicit(name) and id(x) in computed)
            }
        else:
            computed.update(id(x) for x in tree.flatten(outputs))
        calls.append(Call(operation, args, kwargs, outputs))
        return outputs

    # a plain model of the same layers: subclasses may not be cloned
    plain = keras.Model(model.inputs, model.outputs)
    copy = keras.models.clone_model(
        plain,
        input_tensors=list(plain.inputs),
        clone_function=lambda layer: layer,
        call_function=call,
    )
    return Tape(list(plain.inputs), calls, list(copy.outputs))


def _is_implicit(name):
    """Tells whether Keras passes a mask to an argument of this name."""
    return name == "mask" or (
        name.endswith("_mask") and name != "attention_mask"
    )


def symbolic(structure):
    """Returns the symbolic tensors in nested arguments, a list."""
    leaves = tree.flatten(structure)
    return [x for x in leaves if isinstance(x, keras.KerasTensor)]


def filled(structure, values):
    """Returns nested arguments with values instead of symbolic tensors.

    Args:
        structure: nested arguments.
        values: dict from the ids of symbolic tensors to tensors.
    """
    return tree.map_structure(
        lambda x: values[id(x)] if isinstance(x, keras.KerasTensor) else x,
        structure,
    )


def store(values, outputs, results):
    """Adds the results of a call to a dict of values."""
    pairs = zip(tree.flatten(outputs), tree.flatten(results), strict=True)
    values |= {id(x): result for x, result in pairs}
