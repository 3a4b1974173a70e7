"""Virtual adversarial training, which needs no labels."""

import keras
from keras import ops

from su_models.backend.precision import sum_dtype
from su_models.backend.random import normal
from su_models.losses.class_probability import class_log_probabilities
from su_models.training.base import TrainingWrapper
from su_models.training.graph import last_activations
from su_models.training.perturbation import perturbation
from su_models.utils.checks import (
    check_choice,
    check_flag,
    check_integer,
    check_not_negative,
    check_positive,
    check_seed,
)

_PROBABILITIES = (
    keras.activations.softmax,
    keras.activations.sigmoid,
    keras.activations.hard_sigmoid,
    keras.activations.sparsemax,
    keras.activations.sparse_sigmoid,
)


@keras.saving.register_keras_serializable(package="su_models")
class VirtualAdversarialTraining(TrainingWrapper):
    """Penalizes how far a prediction moves under the worst perturbation (VAT).

    Article: https://kexue.fm/archives/7466
        《泛化性乱弹：从随机噪声、梯度惩罚到虚拟对抗训练》
    Paper: https://arxiv.org/abs/1704.03976

    `fit` takes batches `(x, y, unlabeled_x)`. The divergence between the
    predictions on plain and on perturbed unlabeled inputs is added to the loss
    of `(x, y)`:

        weight · KL(f_ng(x) ‖ f(x + ε u))

    f_ng carries no gradient. The direction u approximates the direction that
    changes the prediction most, the first eigenvector of the Hessian H,
    Eq. (17), by `iters` power iterations from a random direction; a product
    with H is a difference of gradients:

        u ← u / |u|
        u ← ∇ KL(f_ng(x) ‖ f(x + ξ u)) ≈ ξ H u                      Eq. (18)

    With perturb="weights" the embedding tables are perturbed, and |u| is the
    norm over all of them, as in the article; with "outputs" and "inputs" each
    sample has its own u, as in the paper, so suitable ε and ξ differ.

    For a regression use divergence="mse", with |f_ng(x) - f(x + ε u)|²
    instead of KL.

    Wrap a built model, then compile and fit the wrapper. Both share all
    weights; `wrapper.model` is the plain model. The data is a
    `tf.data.Dataset`, `keras.utils.PyDataset`, `DataLoader` or generator;
    unlabeled batches may have another size. A batch `(x, y)` also serves as
    the unlabeled batch. There are no sample weights: evaluation ignores the
    third part of a batch. `fit` reports the sum of the losses, and metrics
    of the labeled part. With one iteration a step costs about as much as three
    steps of plain training when compiled by XLA (`compile(jit_compile=True)`).

    Differs: the article's code alternates between two optimizers; here both
    losses are summed. All passes of a step have the same dropout masks, so
    the divergence is 0 without a perturbation.

    Args:
        model: a built `keras.Model` that ends in classes, or for "mse" in
            real numbers.
        embedding: name of an embedding layer, or a list of names. None
            selects all: with perturb="weights" each table named `embeddings`,
            including tables of positions; with "outputs" each
            `keras.layers.Embedding` of the graph.
        epsilon: float >= 0, ε. Norm of the perturbation.
        xi: float > 0, ξ. Norm in the power iteration.
        iters: int >= 0. Number of power iterations; with 0, u is noise.
        weight: float >= 0. Factor of the divergence.
        perturb: "weights": the tables are perturbed. "outputs": the outputs
            of embedding layers, separately for each sample; this needs a
            functional model, and `embedding` may also name a layer that
            contains embeddings. "inputs": the floating-point inputs, such as
            images, separately for each sample, except for masked steps.
        from_logits: bool. Whether the model returns logits instead of
            probabilities.
        binary: bool. Whether each output is the probability of a separate
            class (sigmoid); if False, they sum to 1 (softmax). None means
            True for a single output, else False.
        seed: optional int. Seed of u.
        divergence: "kl" for classes, or "mse" for real outputs: the mean of
            the squared differences.
        inputs: name of an input, or a list of names, for perturb="inputs".
            None selects all floating-point inputs.
        name: optional name.

    Raises:
        ValueError: if the model is not built, has no layer or input of that
            name to perturb, or an argument is out of its range; if the last
            layer shows that the outputs are not probabilities (or, with
            `from_logits`, not logits); from `compile`, if a loss has another
            `from_logits`; from `fit`, if the unlabeled inputs do not match
            the labeled ones. If outputs turn out not to be probabilities only
            in `fit`, the loss is NaN.

    Example:

    >>> ids = keras.Input((3,), dtype="int32")
    >>> x = keras.layers.Embedding(100, 8, name="tokens")(ids)
    >>> x = keras.layers.Flatten()(x)
    >>> model = keras.Model(ids, keras.layers.Dense(2, "softmax")(x))
    >>> wrapper = su_models.training.VirtualAdversarialTraining(model)
    >>> wrapper.compile("adam", "sparse_categorical_crossentropy")
    >>> x, y = keras.ops.array([[3, 1, 4]]), keras.ops.array([1])
    >>> unlabeled_x = keras.ops.array([[1, 5, 9], [2, 6, 5]])
    >>> batches = ((x, y, unlabeled_x) for _ in range(2))
    >>> history = wrapper.fit(
    ...     batches, steps_per_epoch=2, shuffle=False, verbose=0
    ... )
    """

    def __init__(
        self,
        model,
        embedding=None,
        epsilon=1.0,
        xi=10.0,
        iters=1,
        weight=1.0,
        perturb="weights",
        from_logits=False,
        binary=None,
        seed=None,
        divergence="kl",
        inputs=None,
        name=None,
        **kwargs,
    ):
        super().__init__(model, name=name, **kwargs)
        self._perturbation = perturbation(model, perturb, embedding, inputs)
        self.embedding = embedding
        self.epsilon = check_not_negative("epsilon", epsilon)
        self.xi = check_positive("xi", xi)
        self.iters = check_integer("iters", iters, least=0)
        self.weight = check_not_negative("weight", weight)
        self.perturb = perturb
        self.from_logits = check_flag("from_logits", from_logits)
        if binary is not None:
            binary = check_flag("binary", binary)
        self.binary = binary
        self.seed = check_seed(seed)
        self._seeds = keras.random.SeedGenerator(self.seed)
        self.divergence = check_choice("divergence", divergence, ("kl", "mse"))
        self.perturbed_inputs = inputs
        if divergence == "kl":
            _check_outputs(model, self.from_logits, binary)
            self._divergence = _KLDivergence(self.from_logits, binary)
        else:
            _check_real(self.from_logits, binary)
            self._divergence = _SquaredDifference()

    def compile(self, *args, **kwargs):
        """Compiles the model and checks `from_logits` of its losses."""
        super().compile(*args, **kwargs)
        if self.divergence != "kl":
            return
        for loss in keras.tree.flatten(self.loss):
            if getattr(loss, "from_logits", self.from_logits) != (
                self.from_logits
            ):
                raise ValueError(
                    "The wrapper and the loss must agree on `from_logits`. "
                    f"Received: from_logits={self.from_logits}, and "
                    f"a loss with from_logits={loss.from_logits}"
                )

    def compile_from_config(self, config):
        """Compiles like the model that was saved."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Updates the metrics with the labeled part of a batch."""
        return super().compute_metrics(x, y, y_pred, None)

    def _weights(self, third):
        return None

    def _training_loss(self, loss, step):
        inputs = step.x if step.third is None else step.third
        _check_alike(inputs, step.x)
        target = keras.tree.map_structure(
            ops.stop_gradient, step.predict(inputs)
        )
        deltas = self._worst(step, inputs, target)
        moved = self._moved(step, inputs, target, deltas)
        dtype = sum_dtype(loss.dtype)
        return ops.cast(loss, dtype) + self.weight * ops.cast(moved, dtype)

    def _worst(self, step, inputs, target):
        """Returns ε u, without a gradient."""

        def divergence(*deltas):
            return self._moved(step, inputs, target, deltas)

        moves = self._perturbation
        u = [
            ops.cast(normal(ops.shape(x), self._seeds.next()), x.dtype)
            for x in moves.zeros(step, inputs)
        ]
        u = moves.confined(inputs, u)
        for _ in range(self.iters):
            ahead = [self.xi * x for x in moves.unit(u)]
            u = step.ascent(divergence, ahead)
        return [self.epsilon * x for x in moves.unit(u)]

    def _moved(self, step, inputs, target, deltas):
        """Returns the divergence of the prediction from its target."""
        flat = keras.tree.flatten
        outputs = self._perturbation.predict(step, inputs, deltas)
        return sum(
            self._divergence(p, q)
            for p, q in zip(flat(target), flat(outputs), strict=True)
        )

    def get_config(self):
        return {
            **super().get_config(),
            "embedding": self.embedding,
            "epsilon": self.epsilon,
            "xi": self.xi,
            "iters": self.iters,
            "weight": self.weight,
            "perturb": self.perturb,
            "from_logits": self.from_logits,
            "binary": self.binary,
            "seed": self.seed,
            "divergence": self.divergence,
            "inputs": self.perturbed_inputs,
        }


class _Divergence(keras.losses.Loss):
    """Base of divergences: a mean over samples and unmasked positions."""

    def __init__(self):
        dtype = sum_dtype(keras.config.floatx())
        super().__init__(name="divergence", dtype=dtype)


class _SquaredDifference(_Divergence):
    """The mean of the squares of p - q."""

    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred), axis=-1)


class _KLDivergence(_Divergence):
    """KL(p ‖ q), or NaN where p are not probabilities."""

    def __init__(self, from_logits, binary):
        super().__init__()
        self.from_logits, self.binary = from_logits, binary

    def call(self, y_true, y_pred):
        binary = self.binary
        if binary is None:
            binary = y_pred.shape[-1] == 1
        of = self._binary if binary else class_log_probabilities
        log_p, log_q = (of(y, self.from_logits) for y in (y_true, y_pred))
        kl = ops.sum(ops.exp(log_p) * (log_p - log_q), axis=-1)
        if self.from_logits:
            return kl
        return ops.where(_are_probabilities(y_true, binary), kl, float("nan"))

    @staticmethod
    def _binary(y, from_logits):
        """Returns log p and log (1 - p)."""
        if from_logits:
            pair = -ops.softplus(-y), -ops.softplus(y)
        else:
            least = keras.backend.epsilon()
            pair = (ops.log(ops.clip(p, least, 1.0)) for p in (y, 1.0 - y))
        return ops.concatenate([*pair], axis=-1)


def _are_probabilities(p, binary):
    """Tells for each position whether p can be probabilities, `(b, ...)`.

    Rounding in low precision is tolerated.
    """
    sound = ops.all(ops.logical_and(p > -0.01, p < 1.01), axis=-1)
    if binary:
        return sound
    total = ops.sum(p, axis=-1)
    sums_to_1 = ops.logical_and(total > 0.9, total < 1.1)
    return ops.logical_and(sound, sums_to_1)


def _check_outputs(model, from_logits, binary):
    """Rejects a model whose last layer contradicts the arguments."""
    for output, activation in last_activations(model):
        name = getattr(activation, "__name__", activation)
        probable = activation in _PROBABILITIES
        if probable and from_logits:
            raise ValueError(
                "The last layer must return logits for from_logits=True. "
                f"Received: from_logits=True, a layer with activation={name}"
            )
        if not probable and not from_logits:
            raise ValueError(
                "The last layer must return probabilities: use "
                'from_logits=True if it returns logits, or divergence="mse" '
                "for a regression. "
                f"Received: from_logits=False, a layer with activation={name}"
            )
        alone = activation not in (
            keras.activations.softmax,
            keras.activations.sparsemax,
        )
        if probable and alone and not binary and output.shape[-1] != 1:
            raise ValueError(
                "`binary` must be True for several outputs that do not sum "
                f"to 1. Received: binary={binary!r}, a layer with "
                f"activation={name} and {output.shape[-1]} outputs"
            )


def _check_real(from_logits, binary):
    """Rejects arguments that divergence="mse" does not use."""
    for name, value, unset in (
        ("from_logits", from_logits, False),
        ("binary", binary, None),
    ):
        if value is not unset:
            raise ValueError(
                f'`{name}` is for divergence="kl". '
                f'Received: {name}={value!r}, divergence="mse"'
            )


def _check_alike(inputs, others):
    def kinds(structure):
        return [
            (len(x.shape), "float" in keras.backend.standardize_dtype(x.dtype))
            for x in keras.tree.flatten(structure)
        ]

    if kinds(inputs) != kinds(others):
        raise ValueError(
            "The third part of a batch must be inputs like the first. "
            f"Received: {inputs} and {others}"
        )
