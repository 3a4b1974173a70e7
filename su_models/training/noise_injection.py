"""Training under random noise."""

import re

import keras
from keras import ops

from su_models.training.base import TrainingWrapper
from su_models.training.perturbation import PERTURB, check_unused, perturbation
from su_models.utils.checks import check_choice, check_not_negative, check_seed


@keras.saving.register_keras_serializable(package="su_models")
class NoiseInjection(TrainingWrapper):
    """Adds Gaussian noise to inputs, embeddings or weights in training.

    Article: https://kexue.fm/archives/7466
        《泛化性乱弹：从随机噪声、梯度惩罚到虚拟对抗训练》

    The loss is an expectation over the noise, which is drawn once per step:

        E l(f(x + ε), y),   ε ~ N(0, σ²)                        Eq. (2), (3)

    For a small σ this penalizes the second derivatives,

        E l(f(x + ε), y) ≈ l(f(x), y) + σ²/2 Δ l(f(x), y)            Eq. (6)

    and, if l is a squared error, the gradient of f. `fit` reports the noisy
    loss; metrics, `evaluate` and `predict` use no noise.

    Masked steps of inputs get no noise, so that the masks do not change. To
    exclude floating-point inputs with discrete meaning, such as lengths, name
    the other inputs in `inputs`.

    Unlike `keras.layers.GaussianNoise`, the wrapper does not change the graph,
    and it can also perturb weights.

    Args:
        model: a built `keras.Model`. `wrapper.model` is the same object with
            the trained weights.
        stddev: float >= 0, σ.
        perturb: where the noise is added. "inputs": to the floating-point
            inputs. "outputs": to the outputs of embedding layers, separately
            for each occurrence; this needs a functional model, and
            `embedding` may also name a layer that contains embeddings.
            "weights": to the trainable weights, the same for all samples of
            a batch.
        embedding: name of an embedding layer, or a list of names, for
            perturb="outputs". None selects each `keras.layers.Embedding` of
            the graph.
        weights: list of patterns for perturb="weights"; a pattern is found by
            `re.search` in a variable's path, such as "dense/kernel". None
            selects all.
        seed: optional int. Seed of ε.
        inputs: name of an input, or a list of names, for perturb="inputs".
            None selects all floating-point inputs.
        name: optional name.

    Raises:
        ValueError: if `model` is not built, not a `keras.Model`, a wrapper,
            or has a loss of its own; if the noise cannot be added to any
            tensor; or if another argument is invalid.

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
        inputs=None,
        name=None,
        **kwargs,
    ):
        super().__init__(model, name=name, **kwargs)
        self.stddev = check_not_negative("stddev", stddev)
        self.perturb = check_choice("perturb", perturb, PERTURB)
        self.embedding = embedding
        self.weight_patterns = weights
        self.perturbed_inputs = inputs
        self.seed = check_seed(seed)
        self._seeds = keras.random.SeedGenerator(self.seed)
        if perturb == "weights":
            check_unused("embedding", embedding, perturb, ["outputs"])
            check_unused("inputs", inputs, perturb, ["inputs"])
            _matching(model, weights)
        else:
            check_unused("weights", weights, perturb, ["weights"])
            if perturb == "inputs":
                check_unused("embedding", embedding, perturb, ["outputs"])
            self._perturbation = perturbation(model, perturb, embedding, inputs)

    def _training_loss(self, loss, step):
        if not self.stddev:  # the second pass would equal the first
            return loss
        if self.perturb == "weights":
            moved = _matching(self.model, self.weight_patterns)
            return step.loss([(v, self._noisy(v.value)) for v in moved])
        zeros = self._perturbation.zeros(step, step.x)
        return self._perturbation.loss(step, [self._noisy(x) for x in zeros])

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
            "inputs": self.perturbed_inputs,
        }


def _matching(model, patterns):
    """Returns the trainable weights whose path matches a pattern."""
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
