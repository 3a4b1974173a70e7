"""Adds something to the embeddings of a model, and measures what was added."""

import functools

import keras
from keras import ops


class _Perturbation:
    """Something to add to embeddings: deltas, a list of tensors."""

    by_sample = False  # whether each sample has a norm of its own

    def unit(self, tensors):
        """Scales to a norm of 1; zeros, and what is not finite, give 0."""
        return _unit(tensors, self.by_sample)

    def within(self, radius, tensors):
        """Scales down what has a norm above the radius."""
        return _within(radius, tensors, self.by_sample)


class _Weights(_Perturbation):
    """Tables: all occurrences of a token are perturbed alike."""

    def __init__(self, model, embedding=None):
        tables = [
            v
            for v in model.variables
            if v.name == "embeddings" and "float" in v.dtype
        ]
        named = [(v.path.split("/")[-2:][0], v) for v in tables]
        names = _chosen(embedding, [name for name, _ in named])
        self.variables = [v for name, v in named if name in names]

    def zeros(self, step, inputs):
        """Returns no perturbation: a list of zeros, one for each table."""
        return [ops.zeros(v.shape, "float32") for v in self.variables]

    def loss(self, step, deltas):
        """Returns the plain loss of a step under a perturbation."""
        return step.loss(self._moved(deltas))

    def predict(self, step, inputs, deltas):
        """Returns what the model predicts under a perturbation."""
        return step.predict(inputs, self._moved(deltas))

    def _moved(self, deltas):
        pairs = zip(self.variables, deltas, strict=True)
        return [(v, ops.cast(v.value, "float32") + d) for v, d in pairs]


class _Outputs(_Perturbation):
    """What is looked up: each occurrence of a token has its perturbation."""

    by_sample = True

    def __init__(self, model, embedding=None):
        self.model = model
        graph = _functional(model)
        if graph is None:
            raise ValueError(
                "Only what a functional model looks up can be perturbed: "
                "take the tables of any other. Received: "
                f"model={model!r}"
            )
        names = _chosen(embedding, _calls(graph))
        self.probed, self.lookups = _probed(graph, names)

    def zeros(self, step, inputs):
        """Returns no perturbation: zeros, one tensor for each look-up."""
        looked_up = step.predict(self._flat(inputs), model=self.lookups)
        return [
            ops.zeros_like(x, dtype="float32")
            for x in keras.tree.flatten(looked_up)
        ]

    def loss(self, step, deltas):
        """Returns the plain loss of a step under a perturbation."""
        inputs = [*self._flat(step.x), *deltas]
        return step.loss(model=self.probed, inputs=inputs)

    def predict(self, step, inputs, deltas):
        """Returns what the model predicts under a perturbation."""
        inputs = [*self._flat(inputs), *deltas]
        return step.predict(inputs, model=self.probed)

    def _flat(self, inputs):
        if isinstance(inputs, dict):  # maybe with more than is asked for
            asked = self.model.input
            if isinstance(asked, dict):
                inputs = {name: inputs[name] for name in asked}
            else:
                inputs = [inputs[x.name] for x in self.model.inputs]
        # JAX without jit has arrays here, which Keras takes beside no tensors
        return [ops.convert_to_tensor(x) for x in keras.tree.flatten(inputs)]


def _chosen(embedding, candidates):
    """Returns the set of names meant by `embedding`."""
    known = ", ".join(sorted({*candidates})) or "none"
    names = [embedding] if isinstance(embedding, str) else embedding
    if names is None:
        names = candidates
    if not isinstance(names, (list, tuple)) or not all(
        isinstance(name, str) for name in names
    ):
        raise ValueError(
            "`embedding` must be a name, a list of names, or None. "
            f"Received: embedding={embedding!r}"
        )
    if not names or {*names} - {*candidates}:
        raise ValueError(
            "`embedding` must name layers of the model with `embeddings`, "
            f"which are: {known}. Received: embedding={embedding!r}"
        )
    return {*names}


def _unit(tensors, by_sample):
    """Returns tensors over their common norm, or 0 where that is 0.

    Squares neither underflow nor overflow. Where a number is not finite, as
    gradients in float16 may be, the result is 0.
    """
    largest = [ops.max(ops.abs(x), axis=_axes(x, by_sample)) for x in tensors]
    largest = functools.reduce(ops.maximum, largest)
    sound = ops.logical_and(largest > 0, ops.isfinite(largest))
    largest = ops.where(sound, largest, 1.0)
    tensors = [
        ops.where(_like(x, sound), x / _like(x, largest), 0.0) for x in tensors
    ]
    norm = ops.where(sound, _norm(tensors, by_sample), 1.0)
    return [x / _like(x, norm) for x in tensors]


def _within(radius, tensors, by_sample):
    """Draws tensors back to a ball, if they are outside of it."""
    norm = _norm(tensors, by_sample)
    factor = radius / ops.maximum(norm, radius)
    return [x * _like(x, factor) for x in tensors]


def _norm(tensors, by_sample):
    """Returns the norm of all together, or that of each sample: `(b,)`."""
    squares = [
        ops.sum(ops.square(x), axis=_axes(x, by_sample)) for x in tensors
    ]
    return ops.sqrt(functools.reduce(ops.add, squares))


def _axes(x, by_sample):
    return tuple(range(int(by_sample), len(x.shape)))


def _like(x, number):
    """Gives numbers, one for all or one a sample, as many axes as `x`."""
    axes = len(x.shape) if len(number.shape) else 0
    return ops.reshape(number, (-1, *[1] * (axes - 1))) if axes else number


# ---- a functional model with an input more for each look-up


def _functional(model):
    """Returns the plain functional model that `model` is, or None."""
    if not getattr(model, "inputs", None):
        return None
    in_a_row = isinstance(model, keras.Sequential)
    output = model.outputs[0] if in_a_row else model.output
    plain = keras.Model(model.inputs, output)
    known = keras.Sequential.call, type(plain).call
    return plain if type(model).call in known else None


def _calls(graph):
    """Returns the names of the layers of a graph that look up."""
    return [name for layer in graph.layers for name in _calls_of(layer)]


def _calls_of(operation):
    """Returns the names of what looks up: its own, or those inside."""
    if isinstance(operation, keras.Model):
        inner = _functional(operation)
        return [] if inner is None else _calls(inner)
    # tables of positions are not looked up by what comes in
    looks_up = isinstance(operation, keras.layers.Embedding)
    return [operation.name] if looks_up else []


def _probed(graph, names):
    """Rebuilds a graph around the same layers, with an input a look-up.

    Args:
        graph: a functional model.
        names: set of the names of layers that look up.

    Returns:
        `(probed, lookups)`: models from `[*inputs, *deltas]` to the outputs,
        where each delta was added to its look-up, and from `inputs` to what
        is looked up.
    """
    probe = _Probe(names)
    copy = keras.models.clone_model(  # as `split_model` does
        graph,
        input_tensors=graph.input,
        clone_function=lambda layer: layer,
        call_function=probe.call,
    )
    inputs = [*graph.inputs, *probe.deltas]
    return (
        keras.Model(inputs, probe.twin(copy.output)),
        keras.Model(graph.inputs, probe.lookups),
    )


class _Probe:
    """Calls the operations of a graph, and again with something added."""

    def __init__(self, names):
        self.names = names
        self.deltas = []  # inputs
        self.lookups = []  # what the layers gave, before something is added
        self.twins = {}  # by the id of a tensor: itself, its twin

    def call(self, operation, *args, **kwargs):
        outputs = operation(*args, **kwargs)
        args, kwargs = self.twin((args, kwargs))
        if {*_calls_of(operation)} & self.names:
            twins = self.add(operation, *args, **kwargs)
        else:
            twins = operation(*args, **kwargs)
        flat = keras.tree.flatten
        for y, twin in zip(flat(outputs), flat(twins), strict=True):
            self.twins[id(y)] = y, twin
        return outputs

    def add(self, operation, inputs, *args, **kwargs):
        """Calls what looks up, or a model that has it inside."""
        if isinstance(operation, keras.Model):
            probed, lookups = _probed(_functional(operation), self.names)
            inputs = keras.tree.flatten(inputs)
            found = keras.tree.flatten(lookups(inputs))
            return probed([*inputs, *map(self.delta, found)])
        outputs = operation(inputs, *args, **kwargs)
        if kwargs.get("reverse") or any(a is True for a in args):
            return outputs  # a `ReversibleEmbedding` as the last layer
        return _Plus(dtype=outputs.dtype)(outputs, self.delta(outputs))

    def delta(self, outputs):
        """Returns an input to be added to what was looked up."""
        delta = keras.Input(batch_shape=outputs.shape, dtype="float32")
        self.deltas.append(delta)
        self.lookups.append(outputs)
        return delta

    def twin(self, structure):
        def of(x):
            return self.twins.get(id(x), (x, x))[1]

        return keras.tree.map_structure(of, structure)


class _Plus(keras.layers.Layer):
    """A sum with the mask of its first term."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs, delta):
        return inputs + delta

    def compute_output_shape(self, inputs_shape, delta_shape):
        return inputs_shape
