"""Training under random noise."""

import re

import keras
from keras import ops

from su_models.training.perturbation import _Outputs
from su_models.training.wrapper import _TrainingWrapper
from su_models.utils.checks import check_not_negative

_PERTURBED = ("inputs", "outputs", "weights")


@keras.saving.register_keras_serializable(package="su_models")
class NoiseInjection(_TrainingWrapper):
    """Adds Gaussian noise to inputs, to embeddings or to weights.

    Article: https://kexue.fm/archives/7466
        《泛化性乱弹：从随机噪声、梯度惩罚到虚拟对抗训练》

    What is minimized is the mean over the noise, of which each step draws
    one:

        E l(f(x + ε), y),   ε ~ N(0, σ²)                        Eq. (2), (3)

    For a small σ it is a penalty of the second derivatives,

        E l(f(x + ε), y) ≈ l(f(x), y) + σ²/2 Δ l(f(x), y)            Eq. (6)

    and of the gradient of f where l is a square. The loss that `fit` reports
    is the noisy one; metrics, `evaluate` and `predict` are without noise.

    Unlike a `keras.layers.GaussianNoise` this needs no other graph, and
    reaches what is no tensor of it, the weights.

    Args:
        model: a built `keras.Model`. `wrapper.model` is the same object, and
            has the trained weights.
        stddev: float >= 0, σ.
        perturb: where the noise goes. `"inputs"`: to all inputs that are
            floats, those as integers stay. `"outputs"`: to what embeddings
            look up, each occurrence by itself; this needs a functional
            model. `"weights"`: to the trainable weights, the same for all
            samples of a batch.
        embedding: for `"outputs"`: a name or a list of names of layers with
            `embeddings`; None for all.
        weights: for `"weights"`: list of patterns; a pattern is found by
            `re.search` in a variable's path, as `"dense/kernel"`. None for
            all.
        seed: optional int, of ε.
        name: optional name.

    Raises:
        ValueError: if `model` is not built, no `keras.Model`, a wrapper or
            one with a loss of its own; if there is nothing that the noise
            could go to; or another argument is none of these.

    Example:

    >>> x, y = keras.ops.ones((8, 3)), keras.ops.ones((8, 1))
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> wrapper = su_models.training.NoiseInjection(model, stddev=0.1)
    >>> wrapper.compile("sgd", "mse")
    >>> history = wrapper.fit(x, y, epochs=3, verbose=0)
    >>> wrapper.model is model
    True
    """

    def __init__(
        self,
        model,
        stddev=0.1,
        perturb="inputs",
        embedding=None,
        weights=None,
        seed=None,
        name=None,
        **kwargs,
    ):
        super().__init__(model, name=name, **kwargs)
        if perturb not in _PERTURBED:
            raise ValueError(
                f"`perturb` must be one of {', '.join(_PERTURBED)}. "
                f"Received: perturb={perturb!r}"
            )
        for key, value, of in (
            ("embedding", embedding, "outputs"),
            ("weights", weights, "weights"),
        ):
            if value is not None and perturb != of:
                raise ValueError(
                    f'`{key}` is for perturb="{of}". '
                    f"Received: {key}={value!r}, perturb={perturb!r}"
                )
        self.stddev = check_not_negative("stddev", stddev)
        self.perturb = perturb
        self.embedding = embedding
        self.weight_patterns = weights
        self.seed = seed
        self._seeds = keras.random.SeedGenerator(seed)
        if perturb == "outputs":
            self._outputs = _Outputs(model, embedding)
        elif perturb == "weights":
            _matching(model, weights)
        elif getattr(model, "inputs", None):
            _check_floats(model.inputs)

    def _training_loss(self, loss, step):
        if not self.stddev:  # the other pass would be this one
            return loss
        if self.perturb == "weights":
            moved = _matching(self.model, self.weight_patterns)
            return step.loss([(v, self._noisy(v.value)) for v in moved])
        if self.perturb == "outputs":
            zeros = self._outputs.zeros(step, step.x)
            return self._outputs.loss(step, [self._noisy(x) for x in zeros])
        # JAX without jit has arrays here
        inputs = keras.tree.map_structure(ops.convert_to_tensor, step.x)
        _check_floats(keras.tree.flatten(inputs))
        inputs = keras.tree.map_structure(
            lambda x: self._noisy(x) if _is_float(x) else x, inputs
        )
        return step.loss(inputs=inputs)

    def _noisy(self, x):
        noise = keras.random.normal(
            ops.shape(x), stddev=self.stddev, dtype="float32", seed=self._seeds
        )
        return x + ops.cast(noise, x.dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "stddev": self.stddev,
            "perturb": self.perturb,
            "embedding": self.embedding,
            "weights": self.weight_patterns,
            "seed": self.seed,
        }


def _matching(model, patterns):
    """Returns the trainable weights that a pattern is found in."""
    variables = model.trainable_variables
    if patterns is None:
        patterns = [""]
    if not isinstance(patterns, (list, tuple)) or not all(
        isinstance(p, str) for p in patterns
    ):
        raise ValueError(
            "`weights` must be a list of patterns, or None. "
            f"Received: weights={patterns!r}"
        )
    paths = [v.path for v in variables]
    for pattern in patterns:
        if not any(re.search(pattern, path) for path in paths):
            raise ValueError(
                "Each of `weights` must be found in the path of a trainable "
                f"weight, which are: {', '.join(paths) or 'none'}. "
                f"Received: {pattern!r} in weights={patterns!r}"
            )
    return [v for v in variables if any(re.search(p, v.path) for p in patterns)]


def _check_floats(inputs):
    if not any(map(_is_float, inputs)):
        raise ValueError(
            "No input is a float that noise could be added to: take "
            'perturb="outputs" or "weights". Received: inputs of '
            f"{[keras.backend.standardize_dtype(x.dtype) for x in inputs]}"
        )


def _is_float(x):
    return "float" in keras.backend.standardize_dtype(x.dtype)
