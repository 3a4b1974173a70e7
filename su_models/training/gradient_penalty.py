"""A penalty on the gradient with respect to embeddings or inputs."""

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
    """Penalizes the gradient of the loss at embeddings or inputs.

    Article: https://kexue.fm/archives/7234
        《对抗训练浅谈：意义、方法和思考（附Keras实现）》
    Paper: https://arxiv.org/abs/1711.09404

    The loss L of a batch becomes

        L + ½ ε |∇L|²                                                Eq. (8)

    which equals, to first order, training at x + ε∇L, Eq. (5) to Eq. (7). The
    gradient of the mean loss is taken with respect to the outputs of the
    embedding layers: each occurrence of a token counts separately, as in the
    article's code. `perturb` selects the tables instead, where occurrences
    are added before squaring, or the inputs.

    Weights are trained with the gradient of a gradient, so each layer needs
    second derivatives. A step costs about as much as three steps of plain
    training when compiled by XLA (`compile(jit_compile=True)`).

    Wrap a built model, then compile and fit the wrapper. Both share all
    weights; `wrapper.model` is the plain model. `fit` reports the loss with the
    penalty, evaluation the loss without it. If a batch is divided among
    replicas, each part has its own penalty, and their mean is used.

    Args:
        model: a built `keras.Model`.
        embedding: name of an embedding layer, or a list of names. None
            selects all: with perturb="weights" each table named `embeddings`,
            including tables of positions; with "outputs" each
            `keras.layers.Embedding` of the graph.
        epsilon: float >= 0, ε.
        perturb: the tensors of the gradient. "outputs": the
            outputs of embedding layers; this needs a functional model, and
            `embedding` may also name a layer that contains embeddings.
            "weights": the tables. "inputs": the floating-point inputs, such
            as images.
        inputs: name of an input, or a list of names, for perturb="inputs".
            None selects all floating-point inputs.
        name: optional name.

    Raises:
        ValueError: if the model is not built, has no layer or input of that
            name to perturb, or an argument is out of its range.

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
        dtype = sum_dtype(loss.dtype)
        squares = sum(
            ops.sum(ops.square(ops.cast(g, dtype))) for g in gradients
        )
        # Keras divides the loss of each replica by their number n, and hence
        # the square of its gradient by n²
        penalty = 0.5 * self.epsilon * num_replicas() * squares
        return ops.cast(loss, dtype) + penalty

    def get_config(self):
        return {
            **super().get_config(),
            "embedding": self.embedding,
            "epsilon": self.epsilon,
            "perturb": self.perturb,
            "inputs": self.perturbed_inputs,
        }
