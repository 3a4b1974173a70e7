"""Virtual adversarial training, which needs no labels."""

import keras
from keras import ops

from su_models.backend.random import normal
from su_models.losses.class_probability import class_log_probabilities
from su_models.training.perturbation import _Outputs, _Weights
from su_models.training.wrapper import _TrainingWrapper
from su_models.utils.checks import (
    check_flag,
    check_not_negative,
    check_positive,
    is_integer,
)

_KINDS = {"batch": _Weights, "sample": _Outputs}


@keras.saving.register_keras_serializable(package="su_models")
class VirtualAdversarialTraining(_TrainingWrapper):
    """Trains a classifier to keep its mind where it changes it most (VAT).

    Article: https://kexue.fm/archives/7466
        《泛化性乱弹：从随机噪声、梯度惩罚到虚拟对抗训练》
    Paper: https://arxiv.org/abs/1704.03976

    `fit` takes batches `(x, y, unlabeled_x)`. To the loss of `(x, y)` is
    added, on the inputs without labels, how far the prediction moves when
    the embeddings do:

        weight · KL(f_ng(x) ‖ f(x + ε u))

    f_ng carries no gradient. The direction u is near the one that moves it
    most, the first eigenvector of the Hessian H, Eq. (17), by `iters` power
    iterations from a random one; a product with H is a difference:

        u ← u / |u|
        u ← ∇ KL(f_ng(x) ‖ f(x + ξ u)) ≈ ξ H u                      Eq. (18)

    With `norm="batch"` the embedding tables are moved, and |u| is that of
    all of them, as in the article; with "sample" it is what each sample
    looks up, and each has its norm, as in the paper; the lengths ε and ξ
    mean other things then.

    Wrap a built model, then compile and fit the wrapper. Both share all
    weights; `wrapper.model` is the plain one. The data is a
    `tf.data.Dataset`, `keras.utils.PyDataset`, `DataLoader` or generator;
    unlabeled batches may have another size. A batch `(x, y)` is its own
    unlabeled one. There are no sample weights: what comes third is ignored
    in an evaluation. `fit` reports the sum of the losses, and metrics of the
    labeled part. With one iteration a step costs about three of plain
    training when compiled by XLA (`compile(jit_compile=True)`).

    Differs: the article's code has two optimizers that take turns; here both
    losses are summed. All passes of a step have the same dropout masks, so
    that without movement the divergence is 0.

    Args:
        model: a built `keras.Model` that ends in classes.
        embedding: name of an embedding layer, or a list of names. None takes
            all: with norm="batch" each table named `embeddings`,
            of positions too; else each `keras.layers.Embedding` of the graph.
        epsilon: float >= 0, ε, the length of the movement.
        xi: float > 0, ξ, the length in the power iteration.
        iters: int >= 0. Power iterations; with 0, u is noise.
        weight: float >= 0 of the divergence.
        norm: "batch" or "sample"; the latter needs a functional model.
        from_logits: bool. Whether the model returns logits, else
            probabilities.
        binary: bool. Whether each output is the probability of a class by
            itself (sigmoid), else they sum to 1 (softmax). None: if there is
            only one.
        seed: optional int, of u.
        name: optional name.

    Raises:
        ValueError: if the model is not built or has no such embeddings, or a
            number is out of its range; from `compile`, if a loss has another
            `from_logits`; from `fit`, if the unlabeled inputs are not like
            the labeled.

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
        norm="batch",
        from_logits=False,
        binary=None,
        seed=None,
        name=None,
        **kwargs,
    ):
        super().__init__(model, name=name, **kwargs)
        if norm not in _KINDS:
            raise ValueError(
                f"`norm` must be one of {sorted(_KINDS)}. "
                f"Received: norm={norm!r}"
            )
        self._perturbation = _KINDS[norm](model, embedding)
        check_flag("from_logits", from_logits)
        if binary is not None:
            check_flag("binary", binary)
        self._divergence = _Divergence(from_logits, binary)
        self.embedding = embedding
        self.epsilon = check_not_negative("epsilon", epsilon)
        self.xi = check_positive("xi", xi)
        if not is_integer(iters) or iters < 0:
            raise ValueError(
                f"`iters` must be an integer >= 0. Received: iters={iters!r}"
            )
        self.iters = int(iters)
        self.weight = check_not_negative("weight", weight)
        self.norm = norm
        self.from_logits = from_logits
        self.binary = binary
        self.seed = seed
        self._seeds = keras.random.SeedGenerator(seed)

    def compile(self, *args, **kwargs):
        """As of any model; a loss must agree with `from_logits`."""
        super().compile(*args, **kwargs)
        for loss in keras.tree.flatten(self.loss):
            if getattr(loss, "from_logits", self.from_logits) != (
                self.from_logits
            ):
                raise ValueError(
                    "Wrapper and loss must agree whether the model returns "
                    f"logits. Received: from_logits={self.from_logits}, and "
                    f"a loss with from_logits={loss.from_logits}"
                )

    def compile_from_config(self, config):
        """Compiles as before a model was saved."""
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
        return loss + self.weight * self._moved(step, inputs, target, deltas)

    def _worst(self, step, inputs, target):
        """Returns ε u, which carries no gradient."""

        def divergence(*deltas):
            return self._moved(step, inputs, target, deltas)

        perturbation = self._perturbation
        u = [
            normal(ops.shape(x), self._seeds.next())
            for x in perturbation.zeros(step, inputs)
        ]
        for _ in range(self.iters):
            ahead = [self.xi * x for x in perturbation.unit(u)]
            _, u = step.value_and_gradient(divergence, ahead)
        return [
            ops.stop_gradient(self.epsilon * x) for x in perturbation.unit(u)
        ]

    def _moved(self, step, inputs, target, deltas):
        """Returns how far the prediction is from its target."""
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
            "norm": self.norm,
            "from_logits": self.from_logits,
            "binary": self.binary,
            "seed": self.seed,
        }


class _Divergence(keras.losses.Loss):
    """KL(p ‖ q), a mean over samples and, unless masked, positions."""

    def __init__(self, from_logits, binary):
        super().__init__(name="divergence", dtype="float32")
        self.from_logits, self.binary = from_logits, binary

    def call(self, y_true, y_pred):
        binary = self.binary
        if binary is None:
            binary = y_pred.shape[-1] == 1
        of = self._binary if binary else class_log_probabilities
        log_p, log_q = (of(y, self.from_logits) for y in (y_true, y_pred))
        return ops.sum(ops.exp(log_p) * (log_p - log_q), axis=-1)

    @staticmethod
    def _binary(y, from_logits):
        """Log probabilities of the classes, then of their contraries."""
        if from_logits:
            pair = -ops.softplus(-y), -ops.softplus(y)
        else:
            least = keras.backend.epsilon()
            pair = (ops.log(ops.clip(p, least, 1.0)) for p in (y, 1.0 - y))
        return ops.concatenate([*pair], axis=-1)


def _check_alike(inputs, others):
    def kinds(structure):
        return [
            (len(x.shape), "float" in keras.backend.standardize_dtype(x.dtype))
            for x in keras.tree.flatten(structure)
        ]

    if kinds(inputs) != kinds(others):
        raise ValueError(
            "The third part of a batch must be inputs like the first. "
            f"Received: {inputs} beside {others}"
        )
