"""Adversarial training on embeddings or inputs: FGM and PGD."""

import keras

from su_models.training.base import TrainingWrapper
from su_models.training.perturbation import perturbation
from su_models.utils.checks import (
    check_flag,
    check_not_negative,
    check_number,
    check_size,
)


@keras.saving.register_keras_serializable(package="su_models")
class AdversarialTraining(TrainingWrapper):
    """Trains a model under the perturbation that maximizes its loss.

    Article: https://kexue.fm/archives/7234
        《对抗训练浅谈：意义、方法和思考（附Keras实现）》
    Paper: https://arxiv.org/abs/1412.6572

    Each training step moves x, embeddings or inputs, along the gradient of the
    loss (FGM), and minimizes the loss at the new point:

        min_θ E max_|δ|≤ε L(x + δ, y; θ)                             Eq. (1)
        δ = ε ∇L / |∇L|                                              Eq. (3)
        min_θ E L(x + δ, y; θ)                                       Eq. (4)

    With `steps` above 1, δ takes several ascent steps, and is projected onto
    the ball |δ| ≤ ε after each of them (PGD, arXiv 1706.06083).

    The weights never contain δ: with a learning rate of 0 they remain exactly
    equal. No gradient flows through δ.

    Wrap a built model, then compile and fit the wrapper. Both share all
    weights; the wrapper predicts, evaluates and saves like any model, and
    `wrapper.model` is the plain model. A step costs about as much as two steps
    of plain training when compiled by XLA (`compile(jit_compile=True)`), since
    the first pass is then shared with Keras' pass for the metrics.

    `fit` reports the loss that is minimized, and the metrics of the plain
    pass. If a batch is divided among replicas, each has its own δ.

    Differs: both passes of a step have the same dropout masks, so that ε = 0
    is plain training. Random states and moving statistics are those of the
    plain pass. The norm in Eq. (3) has no 1e-8 added; δ is zero if the
    gradient is zero or not finite.

    Args:
        model: a built `keras.Model`.
        embedding: name of an embedding layer, or a list of names. None
            selects all: with perturb="weights" each table named `embeddings`,
            including tables of positions; with "outputs" each
            `keras.layers.Embedding` of the graph.
        epsilon: float >= 0, ε. The norm of δ.
        steps: int >= 1. Number of ascent steps.
        include_clean: bool. Whether the plain loss is added.
        perturb: "weights": δ is added to the tables, so that all occurrences
            of a token move alike, and ε is the norm over all tables.
            "outputs": δ is added to the outputs of embedding layers, so that
            each occurrence moves separately. "inputs": δ is added to the
            floating-point inputs, such as images, except for masked steps. In
            the last two cases each sample has its own δ of norm ε. "outputs"
            needs a functional model; `embedding` may then also name a layer
            that contains embeddings, to perturb the output of that layer.
        step_size: float > 0, the length of one ascent step. Defaults to ε for
            one step, and to 2.5 ε / steps for several.
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
    >>> wrapper = su_models.training.AdversarialTraining(model, "tokens")
    >>> wrapper.compile("adam", "mse")
    >>> x, y = keras.ops.array([[3, 1, 4]]), keras.ops.array([[1.0]])
    >>> history = wrapper.fit(x, y, verbose=0)
    >>> wrapper.model is model
    True
    """

    def __init__(
        self,
        model,
        embedding=None,
        epsilon=0.5,
        steps=1,
        include_clean=False,
        perturb="weights",
        step_size=None,
        inputs=None,
        name=None,
        **kwargs,
    ):
        super().__init__(model, name=name, **kwargs)
        self._perturbation = perturbation(model, perturb, embedding, inputs)
        self.embedding = embedding
        self.epsilon = check_not_negative("epsilon", epsilon)
        self.steps = check_size("steps", steps)
        self.include_clean = check_flag("include_clean", include_clean)
        self.perturb = perturb
        self.step_size = check_number(
            "step_size", step_size, above=0, optional=True
        )
        self.perturbed_inputs = inputs

    def _training_loss(self, loss, step):
        # without ascent, the second pass would equal the first
        worst = loss
        if self.epsilon:
            worst = self._perturbation.loss(step, self._worst(step))
        return loss + worst if self.include_clean else worst

    def _worst(self, step):
        """Returns δ, without a gradient."""
        size = self.step_size
        if size is None:
            factor = 1.0 if self.steps == 1 else 2.5 / self.steps
            size = self.epsilon * factor

        def loss(*deltas):
            return self._perturbation.loss(step, deltas)

        deltas = self._perturbation.zeros(step, step.x)
        for _ in range(self.steps):
            uphill = self._perturbation.unit(step.ascent(loss, deltas))
            deltas = [d + size * g for d, g in zip(deltas, uphill, strict=True)]
            deltas = self._perturbation.within(self.epsilon, deltas)
        return deltas

    def get_config(self):
        return {
            **super().get_config(),
            "embedding": self.embedding,
            "epsilon": self.epsilon,
            "steps": self.steps,
            "include_clean": self.include_clean,
            "perturb": self.perturb,
            "step_size": self.step_size,
            "inputs": self.perturbed_inputs,
        }
