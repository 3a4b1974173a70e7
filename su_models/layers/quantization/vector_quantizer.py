"""Vector quantization with a codebook that is trained by gradients."""

import keras
import numpy as np
from keras import ops

from su_models.backend.match_axes import match_axes
from su_models.backend.precision import sum_dtype
from su_models.backend.take_rows import take_rows
from su_models.utils.checks import (
    check_mask,
    check_not_negative,
    check_number,
    check_seed,
    check_share,
    check_size,
)
from su_models.utils.several_shapes import SeveralShapes

_GOLDEN = (5**0.5 - 1) / 2


@keras.saving.register_keras_serializable(package="su_models")
class VectorQuantizer(keras.layers.Layer):
    """Replaces each vector by the nearest one of a codebook.

    Article: https://kexue.fm/archives/6760
        《VQ-VAE的简明介绍：量子化自编码器》
    Paper: https://arxiv.org/abs/1711.00937

        z -> e_k,   k = argmin_j ‖z - e_j‖                            Eq. (4)

    The next layer receives e_k, but its gradient is passed to z
    (straight-through). Two terms are added to the loss, which bring e_k and z
    together:

        z + sg[e_k - z]                                              Eq. (10)
        β ‖sg[z] - e_k‖² + γ ‖z - sg[e_k]‖²                          Eq. (13)

    where ‖.‖² is the mean over all numbers of a batch. The codebook learns
    only from the first term; the encoder learns from the second term and from
    the layers that follow.

    A code that is not the nearest to any vector receives no gradient, and
    often most of a codebook becomes unused. With `restart_threshold` above 0,
    a code is moved to a vector of the batch when its share of the vectors,
    averaged over about 1/(1 - usage_decay) training batches, falls below
    restart_threshold/codebook_size. `perplexity()` measures how many codes
    are in use, after `fit` as well as in the `on_epoch_end` of a callback.

    Masked vectors are quantized too, but they neither enter the losses nor
    count as use. A layer with `trainable = False` neither counts use nor
    restarts codes. A vector that is not finite has no code: its output is
    NaN, its index is -1, and no code moves to it.

    The layer computes in float32, or in float64 if the policy is float64.

    Args:
        codebook_size: int >= 1. Number K of codes.
        codebook_weight: number >= 0. β.
        commitment_weight: number >= 0. γ; the paper uses 0.25 β.
        restart_threshold: number from 0 to 1; 0 disables restarts.
        usage_decay: number in [0, 1). Decay of the moving average of use.
        codebook_initializer: initializer of the codebook.
        seed: optional int from 0 to 2³¹ - 1. Seed of the restarts.

    Call arguments:
        inputs: z, floats `(batch, ..., d)`.
        mask: optional booleans of the shape of the first axes of `inputs`.
        training: bool. Whether to count use and restart codes.

    Returns:
        `(quantized, indices)`: e_k of the shape and dtype of `inputs`, and
        k, int32 `(batch, ...)`.

    Raises:
        ValueError: if an argument is invalid, the last axis of the inputs is
            unknown, or the mask has another shape.

    Example:

    >>> quantize = su_models.layers.VectorQuantizer(codebook_size=512)
    >>> z, k = quantize(keras.ops.ones((2, 8, 8, 64)))
    >>> tuple(z.shape), tuple(k.shape)
    ((2, 8, 8, 64), (2, 8, 8))
    >>> tuple(quantize.lookup(k).shape)
    (2, 8, 8, 64)
    """

    def __init__(
        self,
        codebook_size,
        codebook_weight=1.0,
        commitment_weight=0.25,
        restart_threshold=0.0,
        usage_decay=0.99,
        codebook_initializer="uniform",
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.codebook_size = check_size("codebook_size", codebook_size)
        self.codebook_weight = check_not_negative(
            "codebook_weight", codebook_weight
        )
        self.commitment_weight = check_not_negative(
            "commitment_weight", commitment_weight
        )
        self.restart_threshold = check_number(
            "restart_threshold", restart_threshold, least=0, most=1
        )
        self.usage_decay = check_share("usage_decay", usage_decay)
        self.codebook_initializer = keras.initializers.get(codebook_initializer)
        self.seed = check_seed(seed)
        self.generator = keras.random.SeedGenerator(self.seed)
        self.supports_masking = True

    def build(self, input_shape):
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                "The inputs must be (batch, ..., d) with a known d. "
                f"Received: input_shape={input_shape}"
            )
        self.input_spec = keras.layers.InputSpec(
            min_ndim=2, axes={-1: input_shape[-1]}
        )
        self._build_codebook((self.codebook_size, input_shape[-1]))
        # share of each code, which starts as if all were used equally
        share = keras.initializers.Constant(1 / self.codebook_size)
        self.usage = self._state("usage", (self.codebook_size,), share)
        self.usage_of_start = self._state("usage_of_start", (), "ones")
        self.built = True

    def _build_codebook(self, shape):
        self._trained = self.add_weight(
            name="codebook",
            shape=shape,
            initializer=self.codebook_initializer,
            autocast=False,
        )
        # restarts change this offset: on JAX a layer cannot assign to a
        # trainable weight
        self._moved = None
        if self.restart_threshold:
            self._moved = self._state("moved", shape, "zeros")

    def _state(self, name, shape, initializer):
        """Adds a variable that is averaged over the replicas.

        It is at least float32: in float16 an average with a decay near 1
        would not change.
        """
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            dtype=sum_dtype(self.variable_dtype),
            trainable=False,
            autocast=False,
            aggregation="mean",
        )

    @property
    def codebook(self):
        """The codes e as a tensor `(codebook_size, d)`."""
        codes = ops.convert_to_tensor(self._trained)
        codes = ops.cast(codes, sum_dtype(self.variable_dtype))
        return codes if self._moved is None else ops.add(codes, self._moved)

    def lookup(self, indices):
        """Returns the codes of integer `indices`, e.g. of generated ones.

        Args:
            indices: integers of any shape in 0, ..., codebook_size - 1.

        Returns:
            A tensor `(*indices.shape, d)`. Compiled programs, which cannot
            raise an error, return NaN for a code that does not exist.

        Raises:
            ValueError: if a known index is not in 0, ..., codebook_size - 1.
        """
        return take_rows(self.codebook, indices)

    def perplexity(self):
        """Returns the perplexity of the codes, a scalar from 1 to K.

        It covers about the last 1/(1 - usage_decay) training batches; a
        restarted code counts as used until its average decays. For a whole
        data set use `su_models.ops.codebook_perplexity`.
        """
        start = self.usage_of_start / self.codebook_size
        share = ops.maximum(self.usage - start, 0.0) + 1e-12
        share = share / ops.sum(share)
        return ops.exp(-ops.sum(share * ops.log(share)))

    def call(self, inputs, mask=None, training=None):
        codebook = self.codebook
        z = ops.cast(inputs, codebook.dtype)
        flat = ops.reshape(ops.stop_gradient(z), (-1, z.shape[-1]))  # (n, d)
        finite = ops.all(ops.isfinite(flat), axis=-1)  # (n,)
        flat = ops.where(finite[:, None], flat, 0.0)
        nearest = _nearest(flat, ops.stop_gradient(codebook))  # (n,)
        indices = ops.reshape(nearest, ops.shape(z)[:-1])  # (b, ...)
        code = take_rows(codebook, indices, check=False)  # (b, ..., d)
        keep = _keep(mask, indices, z.dtype)  # (b, ...)
        for weight, a, b in self._terms(z, code):
            self.add_loss(weight * _mean_square(a - b, keep))
        if training and self.trainable and 0 not in z.shape:
            keep = ops.reshape(keep, (-1,))
            kept_first = None if mask is None else ops.argsort(-keep)
            keep = keep * ops.cast(finite, keep.dtype)
            self._learn(flat, nearest, keep, kept_first)
        finite = ops.reshape(finite, ops.shape(indices))
        indices = ops.where(finite, indices, -1)
        # z - sg[z] is exactly 0, or NaN, so the value is exactly the code
        quantized = ops.stop_gradient(code) + (z - ops.stop_gradient(z))
        return ops.cast(quantized, self.compute_dtype), indices

    def _terms(self, z, code):
        """Returns the terms of the loss: a weight and two tensors each."""
        return [
            (self.codebook_weight, ops.stop_gradient(z), code),
            (self.commitment_weight, z, ops.stop_gradient(code)),
        ]

    def _learn(self, z, indices, keep, kept_first):
        """Counts how often codes are used, and moves unused ones."""
        count = ops.segment_sum(keep, indices, self.codebook_size)  # (K,)
        total = ops.sum(count)
        old, decay = ops.convert_to_tensor(self.usage), self.usage_decay
        new = decay * old + (1 - decay) * count / ops.maximum(total, 1.0)
        dead = rows = None
        if self.restart_threshold:
            floor = self.restart_threshold / self.codebook_size
            dead = ops.logical_and(new < floor, total > 0)
            rows = self._spread(z, kept_first, total)
            new = ops.where(dead, 1 / self.codebook_size, new)
        self._learn_codes(z, indices, keep, count, dead, rows)
        self.usage.assign(ops.where(total > 0, new, old))
        start = ops.convert_to_tensor(self.usage_of_start)
        self.usage_of_start.assign(ops.where(total > 0, decay * start, start))

    def _learn_codes(self, z, indices, keep, count, dead, rows):
        """Moves `dead` codes to `rows`, without gradients."""
        if dead is not None:
            moved = ops.convert_to_tensor(self._moved)
            away = ops.subtract(rows, ops.stop_gradient(self._trained))
            self._moved.assign(ops.where(dead[:, None], away, moved))

    def _spread(self, z, kept_first, total):
        """Returns K unmasked vectors, spread evenly over the batch.

        Multiples of the golden ratio, shifted by one random number, cover the
        batch evenly, both for all codes and for a few of them.
        """
        multiples = _GOLDEN * np.arange(self.codebook_size) % 1.0
        shift = keras.random.uniform((), seed=self.generator, dtype="float32")
        place = (ops.convert_to_tensor(multiples, "float32") + shift) % 1.0
        total = ops.cast(total, "float32")
        place = ops.minimum(ops.floor(place * total), total - 1)
        place = ops.cast(ops.maximum(place, 0.0), "int32")
        if kept_first is not None:
            place = ops.take(kept_first, place, axis=0)
        return ops.take(z, place, axis=0)  # (K, d)

    def compute_output_shape(self, input_shape):
        return SeveralShapes([input_shape, input_shape[:-1]])

    def compute_output_spec(self, inputs, mask=None, training=None):
        shapes = self.compute_output_shape(inputs.shape)
        dtypes = self.compute_dtype, "int32"
        return tuple(map(keras.KerasTensor, shapes, dtypes))

    def compute_mask(self, inputs, previous_mask):
        return previous_mask, previous_mask

    def save_own_variables(self, store):
        """Saves the weights and the state of the random generator."""
        super().save_own_variables(store)
        store["generator"] = ops.convert_to_numpy(self.generator.state)

    def load_own_variables(self, store):
        """Loads the weights and the state of the random generator."""
        weights = {key: store[key] for key in store.keys()}
        state = weights.pop("generator", None)
        super().load_own_variables(weights)
        if state is not None:
            self.generator.state.assign(state)

    def get_config(self):
        return {
            **super().get_config(),
            "codebook_size": self.codebook_size,
            "codebook_weight": self.codebook_weight,
            "commitment_weight": self.commitment_weight,
            "restart_threshold": self.restart_threshold,
            "usage_decay": self.usage_decay,
            "codebook_initializer": keras.initializers.serialize(
                self.codebook_initializer
            ),
            "seed": self.seed,
        }


def _nearest(z, codebook):
    """Returns the index of the nearest code for each row, int32."""
    # ‖z - e‖² - ‖z‖², with the first code as origin: if all vectors were far
    # from the origin, their squares would round away the differences
    z, e = z - codebook[:1], codebook - codebook[:1]
    square = ops.sum(ops.square(e), axis=-1)  # (K,)
    distance = square - 2 * ops.matmul(z, ops.transpose(e))  # (n, K)
    return ops.cast(ops.argmin(distance, axis=-1), "int32")


def _keep(mask, indices, dtype):
    """Returns 1 for each unmasked vector, else 0, shaped like `indices`."""
    ones = ops.ones_like(indices, dtype=dtype)
    if mask is None:
        return ones
    mask = check_mask("mask", mask, "a vector counts")
    rank, full = len(mask.shape), tuple(indices.shape)
    if rank > len(full):
        raise ValueError(
            f"`mask` must have the first axes of {full}. "
            f"Received: mask of shape {tuple(mask.shape)}"
        )
    mask = ops.cast(match_axes("mask", mask, indices, rank), dtype)
    for _ in full[rank:]:
        mask = ops.expand_dims(mask, axis=-1)
    return ones * mask  # (b, ...)


def _mean_square(difference, keep):
    """Returns the mean square over features and unmasked vectors."""
    each = ops.mean(ops.square(difference), axis=-1)  # (b, ...)
    return ops.sum(each * keep) / ops.maximum(ops.sum(keep), 1.0)
