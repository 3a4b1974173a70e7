"""Vector quantization with a codebook of moving averages."""

import keras
from keras import ops

from su_models.backend.num_replicas import num_replicas
from su_models.layers.quantization.vector_quantizer import VectorQuantizer
from su_models.utils.checks import check_share

# an unused code keeps its place once its averaged count falls to this number
_LEAST = 1e-2


@keras.saving.register_keras_serializable(package="su_models")
class VectorQuantizerEMA(VectorQuantizer):
    """A `VectorQuantizer` whose codes are moving averages of their vectors.

    Article: https://kexue.fm/archives/9826
        《简单得令人尴尬的FSQ：“四舍五入”超越了VQ-VAE》
    Paper: https://arxiv.org/abs/1711.00937

        e_k <- α e_k + (1-α) z                                        Eq. (7)

    This is an online k-means, which needs no learning rate. As in the paper's
    appendix, the layer averages the count and the sum of the vectors z_i that
    are nearest to code k in a training batch:

        N_k <- α N_k + (1-α) n_k,   m_k <- α m_k + (1-α) Σ z_i
        e_k = m_k / N̂_k,   N̂_k = (N_k + ε) / (N + K ε) · N,   N = Σ N_k

    They start at N_k = 1, m_k = e_k. Only γ ‖z - sg[e_k]‖² is added to the
    loss. Differs from the paper's authors: here an unused code keeps its
    place, while theirs decays to zero once N_k falls below ε.

    The averages change only in training, and only if `trainable` is True.
    They are weights, so they are saved and loaded, and all replicas share one
    set. Restarts, masks, `lookup` and `perplexity` work as in
    `VectorQuantizer`.

    Args:
        codebook_size: int >= 1. Number K of codes.
        decay: number in [0, 1). α; with 0 each batch is a step of k-means.
        epsilon: number in [0, 1). ε.
        commitment_weight: number >= 0. γ.
        restart_threshold: number from 0 to 1; 0 disables restarts.
        codebook_initializer: initializer of the codebook.
        seed: optional int from 0 to 2³¹ - 1. Seed of the restarts.

    Call arguments:
        inputs: z, floats `(batch, ..., d)`.
        mask: optional booleans of the shape of the first axes of `inputs`.
        training: bool. Whether to update the averages.

    Returns:
        `(quantized, indices)`: e_k of the shape and dtype of `inputs`, and
        k, int32 `(batch, ...)`. e_k is the code before the update.

    Raises:
        ValueError: if an argument is invalid, the last axis of the inputs is
            unknown, or the mask has another shape.

    Example:

    >>> quantize = su_models.layers.VectorQuantizerEMA(2, decay=0.0)
    >>> _ = quantize(keras.ops.array([[1.0], [3.0]]), training=True)
    >>> print(f"{float(keras.ops.max(quantize.codebook)):.3f}")
    2.000
    """

    def __init__(
        self,
        codebook_size,
        decay=0.99,
        epsilon=1e-5,
        commitment_weight=0.25,
        restart_threshold=0.0,
        codebook_initializer="uniform",
        seed=None,
        **kwargs,
    ):
        decay = check_share("decay", decay)
        epsilon = check_share("epsilon", epsilon)
        super().__init__(
            codebook_size,
            commitment_weight=commitment_weight,
            restart_threshold=restart_threshold,
            usage_decay=decay,
            codebook_initializer=codebook_initializer,
            seed=seed,
            **kwargs,
        )
        self.decay = decay
        self.epsilon = epsilon

    def _build_codebook(self, shape):
        self._count = self._state("count", shape[:1], "ones")
        self._sum = self._state("sum", shape, self.codebook_initializer)

    @property
    def codebook(self):
        """The codes e as a tensor `(codebook_size, d)`."""
        count = ops.convert_to_tensor(self._count)
        total, epsilon = ops.sum(count), self.epsilon
        smooth = (count + epsilon) / (total + self.codebook_size * epsilon)
        return ops.divide(self._sum, (smooth * total)[:, None])

    def _terms(self, z, code):
        return super()._terms(z, code)[1:]  # without the codebook's term

    def _learn_codes(self, z, indices, keep, count, dead, rows):
        size, decay = self.codebook_size, self.decay
        total = ops.segment_sum(z * keep[:, None], indices, size)  # (K, d)
        old, old_sum = map(ops.convert_to_tensor, (self._count, self._sum))
        # the assigned mean over replicas must equal the sum over all vectors
        part = (1 - decay) * num_replicas()
        new = decay * old + part * count
        new_sum = decay * old_sum + part * total
        rests = ops.logical_and(count == 0, new < _LEAST)
        new = ops.where(rests, old, new)
        new_sum = ops.where(rests[:, None], old_sum, new_sum)
        if dead is not None:
            new = ops.where(dead, 1.0, new)
            new_sum = ops.where(dead[:, None], rows, new_sum)
        self._count.assign(new)
        self._sum.assign(new_sum)

    def get_config(self):
        config = super().get_config()
        del config["codebook_weight"], config["usage_decay"]
        return {**config, "decay": self.decay, "epsilon": self.epsilon}
