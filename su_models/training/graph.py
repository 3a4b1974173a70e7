"""Graphs of functional models: lookups, masks, and graphs with deltas."""

import keras

from su_models.backend.precision import sum_dtype

# layers that end with their `activation`
_ACTIVATED = (
    keras.layers.Activation,
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
)


def functional(model):
    """Returns `model` as a plain functional model, or None if it is not."""
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        return None
    in_a_row = isinstance(model, keras.Sequential)
    output = model.outputs[0] if in_a_row else model.output
    plain = keras.Model(model.inputs, output)
    known = keras.Sequential.call, type(plain).call
    return plain if type(model).call in known else None


def input_structure(model):
    """Returns the symbolic inputs of a model in their structure, or None."""
    if not getattr(model, "inputs", None):
        return None
    # a Sequential that was never called has no `input`
    in_a_row = isinstance(model, keras.Sequential)
    return model.inputs[0] if in_a_row else model.input


def last_activations(model):
    """Returns pairs of an output and the Keras activation that computed it.

    Outputs with an unknown activation, such as those of custom layers, are
    omitted. The list is empty if the model is not functional.
    """
    graph = functional(model)
    pairs = []
    for output in graph.outputs if graph else ():
        history = output._keras_history
        layer = history.operation
        while functional(layer) is not None:
            history = (
                functional(layer).outputs[history.tensor_index]._keras_history
            )
            layer = history.operation
        activation = getattr(layer, "activation", None)
        name = getattr(activation, "__name__", "")
        known = getattr(keras.activations, name, None) is activation
        if type(layer) in _ACTIVATED and known:
            pairs.append((output, activation))
    return pairs


def lookups(graph):
    """Returns the layers of a graph that look up embeddings.

    Args:
        graph: a functional model.

    Returns:
        A dict from the names of layers, including layers of inner models, to
        None for an embedding, or to a list of the names of embeddings that a
        layer contains.
    """
    found = {}
    for layer in graph.layers:
        found |= _lookups_of(layer)
    return found


def _lookups_of(operation):
    """Returns a layer that looks up, or those of an inner model."""
    inner = functional(operation)
    if inner is not None:
        return lookups(inner)
    # tables of positions are not looked up by the inputs
    if isinstance(operation, keras.layers.Embedding):
        return {operation.name: None}
    if not isinstance(operation, keras.layers.Layer):
        return {}
    inside = [
        layer.name
        for layer in operation._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.Embedding)
    ]
    return {operation.name: inside} if inside else {}


def _called_again(graph, call):
    """Calls all operations of a graph again; returns the outputs.

    Args:
        graph: a functional model.
        call: function of an operation and its arguments.
    """
    # `split_model` does the same and explains it
    return keras.models.clone_model(
        graph,
        input_tensors=graph.input,
        clone_function=lambda layer: layer,
        call_function=call,
    ).output


def maskers(graph):
    """Returns for each input of a graph the layers that mask it.

    Args:
        graph: a functional model.

    Returns:
        A list of lists of pairs: a list of functions to apply to the input,
        and the layer that then computes a mask.
    """
    walk = _Walk(graph.inputs)
    _called_again(graph, walk.call)
    return walk.found


class _Walk:
    """Follows each input to the layers that mask it."""

    def __init__(self, inputs):
        self.inputs = inputs
        self.found = [[] for _ in inputs]
        # maps the id of a tensor to it, its input, and the functions up to it
        self.chains = {id(x): (x, i, []) for i, x in enumerate(inputs)}

    def call(self, operation, *args, **kwargs):
        outputs = operation(*args, **kwargs)
        flat = keras.tree.flatten
        given = [
            x for x in flat((args, kwargs)) if isinstance(x, keras.KerasTensor)
        ]
        used = [x for x in given if id(x) in self.chains]
        inner = functional(operation)
        if inner is not None:
            for x, found in zip(flat(args[:1]), maskers(inner), strict=True):
                if id(x) in self.chains:
                    _, start, chain = self.chains[id(x)]
                    self.found[start] += [([*chain, *c], m) for c, m in found]
        elif len(used) == 1 and self.masks(used[0], outputs):
            _, start, chain = self.chains[id(used[0])]
            self.found[start].append((chain, operation))
        elif len(used) == len(given) == len(flat(outputs)) == 1:
            _, start, chain = self.chains[id(used[0])]

            def again(y):
                of = {id(used[0]): y}
                call = keras.tree.map_structure(
                    lambda x: of.get(id(x), x), (args, kwargs)
                )
                return operation(*call[0], **call[1])

            for y in flat(outputs):
                self.chains[id(y)] = y, start, [*chain, again]
        return outputs

    def masks(self, x, outputs):
        """Tells whether a layer has masked steps of an unmasked tensor."""
        if getattr(x, "_keras_mask", None) is not None:
            return False
        _, start, _ = self.chains[id(x)]
        for y in keras.tree.flatten(outputs):
            mask = getattr(y, "_keras_mask", None)
            if mask is not None:
                of_steps = self.inputs[start].shape[: len(mask.shape)]
                return tuple(mask.shape) == tuple(of_steps)
        return False


def probed(graph, names):
    """Rebuilds a graph of the same layers, with an input for each lookup.

    Args:
        graph: a functional model.
        names: set of names, keys of `lookups(graph)`.

    Returns:
        A pair of models: from `[*inputs, *deltas]` to the outputs, with each
        delta added to its lookup, and from `inputs` to the lookups.
    """
    probe = _Probe(names)
    output = _called_again(graph, probe.call)
    inputs = [*graph.inputs, *probe.deltas]
    return (
        keras.Model(inputs, probe.twin(output)),
        keras.Model(graph.inputs, probe.lookups),
    )


class _Probe:
    """Calls the operations of a graph, once plain and once with deltas."""

    def __init__(self, names):
        self.names = names
        self.deltas = []  # inputs
        self.lookups = []  # outputs of layers, without deltas
        self.twins = {}  # maps the id of a tensor to it and its twin

    def call(self, operation, *args, **kwargs):
        outputs = operation(*args, **kwargs)
        args, kwargs = self.twin((args, kwargs))
        if {*_lookups_of(operation)} & self.names:
            twins = self.add(operation, *args, **kwargs)
        else:
            twins = operation(*args, **kwargs)
        flat = keras.tree.flatten
        for y, twin in zip(flat(outputs), flat(twins), strict=True):
            self.twins[id(y)] = y, twin
        return outputs

    def add(self, operation, inputs, *args, **kwargs):
        """Calls a layer that looks up, or a model that contains one."""
        inner = functional(operation)
        if inner is not None:
            with_deltas, without = probed(inner, self.names)
            inputs = keras.tree.flatten(inputs)
            found = keras.tree.flatten(without(inputs))
            return with_deltas([*inputs, *map(self.delta, found)])
        outputs = operation(inputs, *args, **kwargs)
        if kwargs.get("reverse") or any(a is True for a in args):
            return outputs  # a `ReversibleEmbedding` as the last layer
        if not isinstance(outputs, keras.KerasTensor) or not is_float(outputs):
            raise ValueError(
                "`embedding` must name layers that return one tensor of a "
                "float dtype. "
                f"Received: {operation.name!r}, which returns {outputs}"
            )
        return _Plus(dtype=outputs.dtype)(outputs, self.delta(outputs))

    def delta(self, outputs):
        """Returns an input that is added to a lookup."""
        dtype = sum_dtype(outputs.dtype)
        delta = keras.Input(batch_shape=outputs.shape, dtype=dtype)
        self.deltas.append(delta)
        self.lookups.append(outputs)
        return delta

    def twin(self, structure):
        def of(x):
            return self.twins.get(id(x), (x, x))[1]

        return keras.tree.map_structure(of, structure)


def is_float(x):
    """Tells whether a tensor or an array has a float dtype."""
    return "float" in keras.backend.standardize_dtype(x.dtype)


class _Plus(keras.layers.Layer):
    """A sum with the mask of its first term."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs, delta):
        return inputs + delta

    def compute_output_shape(self, inputs_shape, delta_shape):
        return inputs_shape
