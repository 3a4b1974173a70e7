"""Splits off the part of a model that depends only on fixed inputs."""

import keras


def split_model(model, inputs):
    """Splits a model into a part that depends on some inputs, and the rest.

    A loop that changes only the other inputs can run the first part once,
    before it begins. Both parts share the layers of `model`, which is not
    changed.

    Args:
        model: a `keras.Model`.
        inputs: list of some of `model.inputs`.

    Returns:
        `(first, rest)`: `first` maps `inputs` to a list of tensors; `rest`
        maps all inputs of `model`, followed by these tensors, to the outputs
        of `model`. `(None, model)` if there is no such part, or if `model` is
        not purely functional.

    Example:

    >>> x, t = keras.Input((3,)), keras.Input((2,))
    >>> y = keras.layers.Add()([x, keras.layers.Dense(3)(t)])
    >>> model = keras.Model([x, t], y)
    >>> from su_models.utils.split_model import split_model
    >>> first, rest = split_model(model, [t])
    >>> len(first.weights), len(rest.weights)
    (2, 0)
    """
    if not inputs:
        return None, model
    plain = keras.Model(model.inputs, model.output)
    if type(model) is not type(plain):
        return None, model
    splitter = _Splitter(inputs)
    # in Keras 3.15 `keras.Model(taken, ...)` would break `get_config` of the
    # original, and fail if a layer is used twice
    copy = keras.models.clone_model(
        plain,
        input_tensors=model.input,
        clone_function=lambda layer: layer,
        call_function=splitter.call,
    )
    if not splitter.taken:
        return None, model
    first = keras.Model(inputs, splitter.taken)
    rest = [*model.inputs, *splitter.given]
    return first, keras.Model(rest, splitter.twin(copy.output))


class _Splitter:
    """Calls the operations of a graph again, for both parts."""

    def __init__(self, inputs):
        self.inputs = {id(x) for x in inputs}
        self.known = {id(x): x for x in inputs}  # tensors of the first part
        self.taken = []  # outputs of the first part
        self.given = []  # the corresponding inputs of the rest
        self.twins = {}  # maps the id of a tensor to it and its twin

    def call(self, operation, *args, **kwargs):
        flat = keras.tree.flatten
        outputs = operation(*args, **kwargs)
        used = [x for x in flat((args, kwargs)) if _is_symbolic(x)]
        if all(id(x) in self.known for x in used):
            self.known |= {id(y): y for y in flat(outputs)}
            return outputs
        for x in used:
            self.take(x)
        args, kwargs = self.twin((args, kwargs))
        twins = operation(*args, **kwargs)
        for y, twin in zip(flat(outputs), flat(twins), strict=True):
            self.twins[id(y)] = y, twin
        return outputs

    def take(self, x):
        """Makes `x` an output of the first part if it belongs to it."""
        if id(x) in self.known and id(x) not in {*self.inputs, *self.twins}:
            twin = keras.Input(batch_shape=x.shape, dtype=x.dtype)
            self.taken.append(x)
            self.given.append(twin)
            self.twins[id(x)] = x, twin

    def twin(self, structure):
        def of(x):
            return self.twins.get(id(x), (x, x))[1]

        return keras.tree.map_structure(of, structure)


def _is_symbolic(x):
    return isinstance(x, keras.KerasTensor)
