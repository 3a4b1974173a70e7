"""Takes out of a loop what a model computes from fixed inputs."""

import keras


def split_model(model, inputs):
    """Splits a model into what depends on some inputs alone, and the rest.

    A loop that changes only the other inputs then runs the first part once,
    before it begins. Both parts share the layers of `model`, which stays as
    it is.

    Args:
        model: a `keras.Model`.
        inputs: list of some of `model.inputs`.

    Returns:
        `(first, rest)`: `first` maps `inputs` to a list of tensors; `rest`
        maps all inputs of `model`, followed by those tensors, to what `model`
        returns. `(None, model)` if there is nothing to take out, or if
        `model` is not purely functional: its own `call` decides then.

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
    # not `keras.Model(taken, ...)`: in Keras 3.15 that spoils `get_config` of
    # the original, and fails where a layer is used twice
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
    """Calls the operations of a graph again, once more for the rest."""

    def __init__(self, inputs):
        self.inputs = {id(x) for x in inputs}
        self.known = {id(x): x for x in inputs}  # what depends on them alone
        self.taken = []  # such tensors, where something else needs them
        self.given = []  # the inputs that stand for those in the rest
        self.twins = {}  # by the id of a tensor: itself, its twin in the rest

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
        """Ends the first part at `x` if it has come so far."""
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
