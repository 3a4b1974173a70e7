"""Deltas that are added to tables, lookups or inputs of a model."""

import functools

import keras
from keras import ops

from su_models.backend.precision import sum_dtype
from su_models.training.graph import (
    functional,
    input_structure,
    is_float,
    lookups,
    maskers,
    probed,
)
from su_models.utils.checks import check_choice

PERTURB = ("inputs", "outputs", "weights")


def perturbation(model, perturb, embedding=None, inputs=None):
    """Returns an object that adds deltas to a model.

    Args:
        model: a built `keras.Model`.
        perturb: "weights": deltas are added to the embedding tables;
            "outputs": to the lookups; "inputs": to the floating-point inputs.
        embedding: for "weights" and "outputs", a name or a list of names of
            layers. None selects all.
        inputs: for "inputs", a name or a list of names of inputs. None
            selects all floating-point inputs.

    Raises:
        ValueError: if there is no layer or input of that name or kind, or an
            argument belongs to another `perturb`.
    """
    check_choice("perturb", perturb, PERTURB)
    if perturb == "inputs":
        check_unused("embedding", embedding, perturb, ["outputs", "weights"])
        return _Inputs(model, inputs)
    check_unused("inputs", inputs, perturb, ["inputs"])
    kind = _Weights if perturb == "weights" else _Outputs
    return kind(model, embedding)


def check_unused(name, value, perturb, wanted):
    """Rejects an argument that `perturb` does not use.

    Args:
        name: the argument's name.
        value: its value; None is accepted.
        perturb: the value of `perturb`.
        wanted: list of the values of `perturb` that use it.
    """
    if value is not None:
        those = " or ".join(f'"{word}"' for word in wanted)
        raise ValueError(
            f"`{name}` is for perturb={those}. "
            f"Received: {name}={value!r}, perturb={perturb!r}"
        )


class _Perturbation:
    """Base of objects that add deltas, a list of tensors, to a model."""

    by_sample = False  # whether the norm is computed for each sample

    def zeros(self, step, inputs):
        """Returns deltas of zeros."""
        raise NotImplementedError

    def loss(self, step, deltas):
        """Returns the plain loss of a step under deltas."""
        raise NotImplementedError

    def predict(self, step, inputs, deltas):
        """Returns the model's outputs in training mode under deltas."""
        raise NotImplementedError

    def confined(self, inputs, deltas):
        """Returns deltas with zeros where they must not be added."""
        return deltas

    def unit(self, deltas):
        """Scales deltas to norm 1; zero and non-finite deltas become 0."""
        return _unit(deltas, self.by_sample)

    def within(self, radius, deltas):
        """Scales deltas whose norm exceeds the radius down to the radius."""
        return _within(radius, deltas, self.by_sample)


class _Weights(_Perturbation):
    """Perturbs tables: all occurrences of a token move alike."""

    def __init__(self, model, embedding=None):
        tables = [
            v
            for v in model.variables
            if v.name == "embeddings" and "float" in v.dtype
        ]
        named = [(v.path.split("/")[-2:][0], v) for v in tables]
        names = _chosen(embedding, dict.fromkeys(name for name, _ in named))
        self.variables = [v for name, v in named if name in names]

    def zeros(self, step, inputs):
        return [ops.zeros(v.shape, sum_dtype(v.dtype)) for v in self.variables]

    def loss(self, step, deltas):
        return step.loss(self._moved(deltas))

    def predict(self, step, inputs, deltas):
        return step.predict(inputs, self._moved(deltas))

    def _moved(self, deltas):
        pairs = zip(self.variables, deltas, strict=True)
        return [(v, ops.cast(v.value, d.dtype) + d) for v, d in pairs]


class _Outputs(_Perturbation):
    """Perturbs lookups: each occurrence of a token has its own delta."""

    by_sample = True

    def __init__(self, model, embedding=None):
        self.model = model
        graph = functional(model)
        if graph is None:
            raise ValueError(
                '`model` must be functional for perturb="outputs"; for other '
                'models take the tables, perturb="weights". '
                f"Received: model={model!r}"
            )
        names = _chosen(embedding, lookups(graph))
        self.probed, self.lookups = probed(graph, names)

    def zeros(self, step, inputs):
        looked_up = step.predict(self._flat(inputs), model=self.lookups)
        return [
            ops.zeros_like(x, dtype=sum_dtype(x.dtype))
            for x in keras.tree.flatten(looked_up)
        ]

    def loss(self, step, deltas):
        inputs = [*self._flat(step.x), *deltas]
        return step.loss(model=self.probed, inputs=inputs)

    def predict(self, step, inputs, deltas):
        inputs = [*self._flat(inputs), *deltas]
        return step.predict(inputs, model=self.probed)

    def _flat(self, inputs):
        return _flat(self.model, inputs)


class _Inputs(_Perturbation):
    """Perturbs floating-point inputs, except for padding.

    Padding means steps that a layer of the model masks. They get no delta, so
    the masks remain those of the plain pass.
    """

    by_sample = True

    def __init__(self, model, inputs=None):
        self.model = model
        names = [inputs] if isinstance(inputs, str) else inputs
        if names is not None and (
            not isinstance(names, (list, tuple))
            or not names
            or not all(isinstance(name, str) for name in names)
        ):
            raise ValueError(
                "`inputs` must be a name, a list of names, or None. "
                f"Received: inputs={inputs!r}"
            )
        self.names = names
        self.symbolic = getattr(model, "inputs", None)  # None if unknown
        graph = functional(model)
        self.structure = input_structure(model)
        if self.symbolic:
            self._chosen(self._labels(None), self.symbolic)
        if graph is not None:
            self.maskers = maskers(graph)
        else:
            self.maskers = [
                ([], layer)
                for layer in model._flatten_layers()
                if isinstance(layer, keras.layers.Masking)
            ]
            if self.symbolic:
                self.maskers = [self.maskers for _ in self.symbolic]

    def zeros(self, step, inputs):
        flat, chosen = self._read(inputs)
        return [
            ops.zeros_like(flat[i], dtype=sum_dtype(flat[i].dtype))
            for i in chosen
        ]

    def loss(self, step, deltas):
        return step.loss(inputs=self._moved(step.x, deltas))

    def predict(self, step, inputs, deltas):
        return step.predict(self._moved(inputs, deltas))

    def confined(self, inputs, deltas):
        flat, chosen = self._read(inputs)
        return [
            self._confined(i, flat[i], delta)
            for i, delta in zip(chosen, deltas, strict=True)
        ]

    def _moved(self, inputs, deltas):
        flat, chosen = self._read(inputs)
        for i, delta in zip(chosen, deltas, strict=True):
            delta = self._confined(i, flat[i], delta)
            flat[i] = flat[i] + ops.cast(delta, flat[i].dtype)
        structure = self.structure if self.symbolic else inputs
        return keras.tree.pack_sequence_as(structure, flat)

    def _confined(self, i, x, delta):
        """Returns the delta of input `i` with zeros where it is masked."""
        for chain, layer in self.maskers[i] if self.symbolic else self.maskers:
            if not self.symbolic and len(x.shape) < 3:
                continue  # no steps
            y = functools.reduce(lambda y, f: f(y), chain, x)
            if layer.autocast:
                y = ops.cast(y, layer.compute_dtype)
            keep = layer.compute_mask(y, None)  # (b, n) or (b, n, ...)
            axes = len(delta.shape) - len(keep.shape)
            keep = ops.reshape(keep, (*ops.shape(keep), *[1] * axes))
            delta = ops.where(keep, delta, ops.zeros_like(delta))
        return delta

    def _read(self, inputs):
        """Returns a flat list of inputs, and the indices of the chosen ones."""
        flat = _flat(self.model, inputs)
        chosen = self._chosen(self._labels(inputs), self.symbolic or flat)
        if self.symbolic:
            for i in chosen:
                flat[i] = ops.cast(flat[i], self.symbolic[i].dtype)
        return flat, chosen

    def _labels(self, inputs):
        """Returns the names of inputs, in the order of the flat list."""
        if self.symbolic:
            return [x.name for x in self.symbolic]
        if isinstance(inputs, dict):
            return keras.tree.flatten({key: key for key in inputs})
        return []

    def _chosen(self, labels, tensors):
        floats = [i for i, x in enumerate(tensors) if is_float(x)]
        if not floats:
            kinds = [keras.backend.standardize_dtype(x.dtype) for x in tensors]
            raise ValueError(
                "No input is a floating-point tensor to perturb: use "
                'perturb="outputs" or "weights". '
                f"Received: inputs of {kinds}"
            )
        if self.names is None:
            return floats
        places = {labels[i]: i for i in floats if i < len(labels)}
        if {*self.names} - {*places}:
            raise ValueError(
                "`inputs` must name floating-point inputs, which are: "
                f"{', '.join(places) or 'without names'}. "
                f"Received: inputs={self.names!r}"
            )
        return [i for name, i in places.items() if name in self.names]


def _flat(model, inputs):
    """Returns the inputs that a model expects as a flat list of tensors."""
    asked = input_structure(model)
    if isinstance(inputs, dict) and asked is not None:  # may have more keys
        if isinstance(asked, dict):
            inputs = {name: inputs[name] for name in asked}
        else:
            inputs = [inputs[x.name] for x in model.inputs]
    # without jit, JAX has arrays here, which Keras does not mix with tensors
    return [ops.convert_to_tensor(x) for x in keras.tree.flatten(inputs)]


def _chosen(embedding, candidates):
    """Returns the set of names that `embedding` selects.

    Args:
        embedding: a name, a list of names, or None.
        candidates: dict from the names that can be perturbed to None, or to
            the names of the embeddings that the layer contains.
    """
    known = ", ".join(sorted(candidates)) or "none"
    names = [embedding] if isinstance(embedding, str) else embedding
    if names is None:
        names = [name for name, inner in candidates.items() if inner is None]
    if not isinstance(names, (list, tuple)) or not all(
        isinstance(name, str) for name in names
    ):
        raise ValueError(
            "`embedding` must be a name, a list of names, or None. "
            f"Received: embedding={embedding!r}"
        )
    if not names or {*names} - {*candidates}:
        raise ValueError(
            f"{_advice(names, candidates)}`embedding` must name layers of the "
            f"model with `embeddings`, which are: {known}. "
            f"Received: embedding={embedding!r}"
        )
    return {*names}


def _advice(names, candidates):
    """Returns a sentence with an alternative, and a space."""
    inside = [
        f"{', '.join(map(repr, inner))} inside of {outer!r}"
        for outer, inner in candidates.items()
        if inner is not None and (not names or {*names} & {*inner})
    ]
    if inside:
        return (
            f"There is {'; '.join(inside)}: name the outer layer to perturb "
            'its output, or use perturb="weights" to perturb the tables. '
        )
    if not candidates:
        return 'Use perturb="inputs" for floating-point inputs. '
    return ""


def _unit(tensors, by_sample):
    """Divides tensors by their common norm, or returns 0 if it is 0.

    Squares neither underflow nor overflow. If a number is not finite, like
    some gradients in float16, the result is 0.
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
    """Scales tensors outside a ball down to its radius."""
    norm = _norm(tensors, by_sample)
    factor = radius / ops.maximum(norm, radius)
    return [x * _like(x, factor) for x in tensors]


def _norm(tensors, by_sample):
    """Returns the norm of all tensors together, or of each sample: `(b,)`."""
    squares = [
        ops.sum(ops.square(x), axis=_axes(x, by_sample)) for x in tensors
    ]
    return ops.sqrt(functools.reduce(ops.add, squares))


def _axes(x, by_sample):
    return tuple(range(int(by_sample), len(x.shape)))


def _like(x, number):
    """Reshapes a scalar, or one number per sample, to the rank of `x`."""
    axes = len(x.shape) if len(number.shape) else 0
    return ops.reshape(number, (-1, *[1] * (axes - 1))) if axes else number
