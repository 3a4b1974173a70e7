"""A penalty on the gradient of the loss by the embeddings."""

import keras
from keras import ops

from su_models.backend.compile import uncompiled
from su_models.backend.num_replicas import num_replicas
from su_models.training.perturbation import _Outputs, _Weights
from su_models.training.wrapper import _TrainingWrapper
from su_models.utils.checks import check_flag, check_not_negative


@keras.saving.register_keras_serializable(package="su_models")
class GradientPenalty(_TrainingWrapper):
    """Trains a model so that its loss is flat around the embeddings.

    Article: https://kexue.fm/archives/7234
        《对抗训练浅谈：意义、方法和思考（附Keras实现）》
    Paper: https://arxiv.org/abs/1711.09404

    To the loss L of a batch is added

        ½ ε |∇L|²                                                    Eq. (8)

    which to first order is what training at x + ε∇L amounts to, Eq. (5) to
    Eq. (7). The gradient is that of the mean loss, by what the embedding
    layers return: each occurrence of a token counts by itself, as in the
    article's code. With `aggregate` it is by the tables, where occurrences
    add up before they are squared.

    Weights learn from the gradient of a gradient, so each layer needs one of
    second order. A step costs about three of plain training when compiled by
    XLA (`compile(jit_compile=True)`).

    Wrap a built model, then compile and fit the wrapper. Both share all
    weights; `wrapper.model` is the plain one. `fit` reports the loss with
    the penalty, an evaluation without it. Where a batch is divided among
    replicas, each one's part has a penalty of its own, and their mean is
    taken.

    Args:
        model: a built `keras.Model`; a functional one, unless `aggregate`.
        embedding: name of an embedding layer, or a list of names. None takes
            all: with `aggregate` each table named `embeddings`,
            of positions too; else each `keras.layers.Embedding` of the graph.
        epsilon: float >= 0, ε.
        aggregate: bool. Whether the gradient is by the tables.
        name: optional name.

    Raises:
        ValueError: if the model is not built or has no such embeddings, or
            `epsilon` is negative.

    Example:

    >>> ids = keras.Input((None,), dtype="int32")
    >>> x = keras.layers.Embedding(100, 8, name="tokens")(ids)
    >>> x = keras.layers.GlobalAveragePooling1D()(x)
    >>> model = keras.Model(ids, keras.layers.Dense(1)(x))
    >>> wrapper = su_models.training.GradientPenalty(model, "tokens")
    >>> wrapper.compile("adam", "mse")
    >>> x, y = keras.ops.array([[3, 1, 4]]), keras.ops.array([[1.0]])
    >>> history = wrapper.fit(x, y, verbose=0)
    """

    def __init__(
        self,
        model,
        embedding=None,
        epsilon=1.0,
        aggregate=False,
        name=None,
        **kwargs,
    ):
        super().__init__(model, name=name, **kwargs)
        kind = _Weights if check_flag("aggregate", aggregate) else _Outputs
        self._perturbation = kind(model, embedding)
        self.embedding = embedding
        self.epsilon = check_not_negative("epsilon", epsilon)
        self.aggregate = aggregate

    def _training_loss(self, loss, step):
        if not self.epsilon:
            return loss

        def moved(*deltas):
            return self._perturbation.loss(step, deltas)

        zeros = self._perturbation.zeros(step, step.x)
        twice = uncompiled(step.value_and_gradient)
        loss, gradients = twice(moved, zeros)
        squares = sum(ops.sum(ops.square(g)) for g in gradients)
        # Keras divides the loss of each replica by their number, n: its
        # square by n²
        return loss + 0.5 * self.epsilon * num_replicas() * squares

    def get_config(self):
        return {
            **super().get_config(),
            "embedding": self.embedding,
            "epsilon": self.epsilon,
            "aggregate": self.aggregate,
        }
