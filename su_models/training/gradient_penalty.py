"""A penalty on the gradient of the loss by embeddings or inputs."""

import keras
from keras import ops

from su_models.backend.compile import uncompiled
from su_models.backend.num_replicas import num_replicas
from su_models.backend.precision import sum_dtype
from su_models.training.base import TrainingWrapper
from su_models.training.perturbation import perturbation
from su_models.utils.checks import check_not_negative


@keras.saving.register_keras_serializable(package="su_models")
class GradientPenalty(TrainingWrapper):
    """Trains a model so that its loss is flat around embeddings or inputs.

    Article: https://kexue.fm/archives/7234
        《对抗训练浅谈：意义、方法和思考（附Keras实现）》
    Paper: https://arxiv.org/abs/1711.09404

    The loss L of a batch becomes

        L + ½ ε |∇L|²                                                Eq. (8)

    which is, to first order, training at x + ε∇L, Eq. (5) to Eq. (7). The
    gradient of the mean loss is taken with respect to the outputs of the
    embedding layers: each occurrence of a token counts by itself, as in the
    article's code. `perturb` selects tables, where occurrences are added up
    before the square, or inputs instead.

    Weights learn from the gradient of a gradient, so that each layer needs one
    of second order. A step costs about as much as three steps of plain
    training when compiled by XLA (`compile(jit_compile=True)`).

    Wrap a built model, then compile and fit the wrapper. Both share all
    weights; `wrapper.model` is the plain one. `fit` reports the loss with the
    penalty, an evaluation the loss without it. If a batch is divided among
    replicas, each part has its own penalty, and their mean is taken.

    Args:
        model: a built `keras.Model`.
        embedding: name of an embedding layer, or a list of names. None takes
            all: with perturb="weights" each table named `embeddings`,
            including tables of positions; with "outputs" each
            `keras.layers.Embedding` of the graph.
        epsilon: float >= 0, ε.
        perturb: what the gradient is taken with respect to. "outputs": the
            outputs of embedding layers; this needs a functional model, and
            `embedding` may also name a layer that has embeddings inside.
            "weights": the tables. "inputs": the inputs that are floats, such
            as images.
        inputs: name of an input, or a list of names, for perturb="inputs".
            None takes all inputs that are floats.
        name: optional name.

    Raises:
        ValueError: if the model is not built, has nothing of that name to
            perturb, or an argument is out of its range.

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
        perturb="outputs",
        inputs=None,
        name=None,
        **kwargs,
    ):
        super().__init__(model, name=name, **kwargs)
        self._perturbation = perturbation(model, perturb, embedding, inputs)
        self.embedding = embedding
        self.epsilon = check_not_negative("epsilon", epsilon)
        self.perturb = perturb
        self.perturbed_inputs = inputs

    def _training_loss(self, loss, step):
        if not self.epsilon:
            return loss

        def moved(*deltas):
            return self._perturbation.loss(step, deltas)

        zeros = self._perturbation.zeros(step, step.x)
        twice = uncompiled(step.value_and_gradient)
        loss, gradients = twice(moved, zeros)
        squares = sum(ops.sum(ops.square(g)) for g in gradients)
        # Keras divides the loss of each replica by their number n, and so the
        # square of its gradient by n²
        penalty = 0.5 * self.epsilon * num_replicas() * squares
        dtype = sum_dtype(loss.dtype)
        return ops.cast(loss, dtype) + ops.cast(penalty, dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "embedding": self.embedding,
            "epsilon": self.epsilon,
            "perturb": self.perturb,
            "inputs": self.perturbed_inputs,
        }
