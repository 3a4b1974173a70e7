"""Bases of the losses: precision, and checks of targets and weights."""

import keras
from keras import ops

from su_models.backend.indices import check_indices, nan_outside
from su_models.backend.keras_mask import mask_of, with_mask
from su_models.backend.match_axes import match_axes
from su_models.backend.precision import sum_dtype
from su_models.backend.shares import check_shares
from su_models.utils.checks import check_flag, check_integer

_SLACK = 1e-2  # tolerance for probabilities in low precision


class Loss(keras.losses.Loss):
    """Base of losses in float32 or wider, without silent broadcasting.

    Sums over classes and over a batch overflow in float16, which also rounds
    class indices above 2048. So `y_true` and `y_pred` are cast to float32, or
    to float64 if that is the dtype, and only the result has the given dtype.

    Targets with weight 0, or excluded by a Keras mask of `y_pred`, are
    ignored, so padding may hold any number.

    Args:
        name: optional name.
        reduction: as in every Keras loss.
        dtype: dtype of the result, a string or `keras.DTypePolicy`. Defaults
            to float32, or to float64 if that is Keras' `floatx`.

    Call arguments:
        y_true: targets.
        y_pred: `(batch, ..., classes)`.
        sample_weight: optional floats; a scalar, `(batch,)`, or with more of
            the axes of `y_pred`, of which those after the batch may have
            size 1.

    Raises:
        ValueError: if shapes do not fit.
    """

    def __init__(self, name, reduction, dtype=None):
        dtype = dtype or sum_dtype(keras.config.floatx())
        policy = keras.dtype_policies.get(dtype)
        super().__init__(name, reduction, sum_dtype(policy.compute_dtype))
        self.result_dtype = policy.compute_dtype

    def __call__(self, y_true, y_pred, sample_weight=None):
        if not ops.is_tensor(y_pred):
            y_pred = ops.convert_to_tensor(y_pred, dtype=self.dtype)
        y_true = ops.convert_to_tensor(y_true, dtype=self.dtype)
        y_true = self.match(y_true, y_pred)
        if sample_weight is not None:
            rank = len(y_pred.shape) - 1  # number of axes of the losses
            weight = ops.convert_to_tensor(sample_weight, dtype=self.dtype)
            if len(weight.shape) == rank + 1 and weight.shape[-1] == 1:
                weight = ops.squeeze(weight, -1)
            sample_weight = align(weight, y_pred, rank)
        mask, shares = mask_of(y_pred), not getattr(self, "from_logits", True)
        for weight in (sample_weight, mask):
            if weight is not None:
                y_true = hide(y_true, weight)
                y_pred = in_range(y_pred, weight) if shares else y_pred
        if mask is not None and shares:
            y_pred = with_mask(y_pred, mask)
        loss = super().__call__(y_true, y_pred, sample_weight)
        return ops.cast(loss, self.result_dtype)

    def match(self, y_true, y_pred):
        """Returns the targets, after checking their shape."""
        return match_targets(y_true, y_pred)


class LabelLoss(Loss):
    """Base of losses whose targets are one class index per sample.

    A subclass defines the loss in `of_labels`.

    Args:
        from_logits: bool. Whether `y_pred` holds logits; if False,
            probabilities.
        ignore_class: optional int. Targets of this class are ignored, as in
            `keras.losses.SparseCategoricalCrossentropy`.
        reduction: as in every Keras loss.
        name: optional name.
        dtype: of the result.

    Call arguments:
        y_true: integers `(...)` or `(..., 1)` in 0, ..., classes - 1.
        y_pred: `(..., classes)`.

    Raises:
        ValueError: if an argument is invalid, the shapes do not fit, or a
            known target is not a class. A compiled program returns NaN for
            such a target instead.
    """

    def __init__(self, from_logits, ignore_class, reduction, name, dtype):
        super().__init__(name, reduction, dtype)
        self.from_logits = check_flag("from_logits", from_logits)
        self.ignore_class = check_integer(
            "ignore_class", ignore_class, optional=True
        )

    def of_labels(self, labels, y_pred):
        """Returns the loss of each sample.

        Args:
            labels: int32 `(...)` in 0, ..., classes - 1.
            y_pred: `(..., classes)`.
        """
        raise NotImplementedError

    def match(self, y_true, y_pred):
        return match_labels(y_true, y_pred)

    def call(self, y_true, y_pred):
        labels, valid = self.match(y_true, y_pred), None
        if self.ignore_class is not None:
            valid = ops.not_equal(labels, self.ignore_class)
            labels = ops.where(valid, labels, 0.0)
            # predictions at ignored positions may be arbitrary, even NaN
            y_pred = ops.where(valid[..., None], y_pred, 1.0)
        classes = y_pred.shape[-1]
        if classes is None:
            classes = ops.cast(ops.shape(y_pred)[-1], labels.dtype)
        labels, inside = check_indices("y_true", labels, classes)
        y_pred = check_probabilities(y_pred, self.from_logits)
        loss = nan_outside(self.of_labels(labels, y_pred), inside)
        if valid is None:
            return loss
        return with_mask(ops.where(valid, loss, 0.0), valid)

    def get_config(self):
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "ignore_class": self.ignore_class,
        }


def match_targets(y_true, y_pred):
    """Returns targets, after checking that they match the predictions.

    Raises:
        ValueError: if a known size differs, or the predictions are scalar.
    """
    if not len(y_pred.shape) or not _fit(y_true.shape, y_pred.shape):
        raise ValueError(
            "`y_true` and `y_pred` must have the same shape. "
            f"Received: y_true={tuple(y_true.shape)}, "
            f"y_pred={tuple(y_pred.shape)}"
        )
    return match_axes("y_true", y_true, y_pred, len(y_pred.shape))


def match_labels(y_true, y_pred):
    """Returns labels `(...)` for predictions `(..., classes)`.

    Args:
        y_true: `(...)` or `(..., 1)`.
        y_pred: `(..., classes)`.

    Raises:
        ValueError: if a known size differs, or there is no axis.
    """
    labels, shape = y_true, tuple(y_pred.shape)
    if len(labels.shape) == len(shape) and labels.shape[-1] == 1:
        labels = ops.squeeze(labels, -1)
    if not shape or not _fit(labels.shape, shape[:-1]):
        raise ValueError(
            "`y_true` must hold integers of the shape of `y_pred` without "
            f"its last axis. Received: y_true={tuple(y_true.shape)}, "
            f"y_pred={shape}"
        )
    return match_axes("y_true", labels, y_pred, len(shape) - 1)


def check_probabilities(y_pred, from_logits):
    """Returns predictions, which are logits or from 0 to 1.

    NaN stays NaN: a training that diverges is no wrong argument.

    Raises:
        ValueError: if a known probability is none. One that is not known
            becomes NaN.
    """
    if from_logits:
        return y_pred
    return check_shares("y_pred", y_pred, _SLACK, nan=True)


def align(weight, like, rank):
    """Returns weights with `rank` axes that broadcast to those of `like`.

    Args:
        weight: a tensor with at most `rank` axes; the first is the batch, the
            others may have size 1.
        like: a tensor with at least `rank` axes.
        rank: int.

    Raises:
        ValueError: if known sizes do not fit.
    """
    shape, want = tuple(weight.shape), tuple(like.shape)[:rank]
    sizes = zip(shape, want, strict=False)
    if len(shape) > rank or not all(
        a == b or None in (a, b) or (a == 1 and i)
        for i, (a, b) in enumerate(sizes)
    ):
        raise ValueError(
            "`sample_weight` must have the first axes of `y_pred`. "
            f"Received: sample_weight={shape}, y_pred={tuple(like.shape)}"
        )
    if not shape:
        return weight
    weight = match_axes("sample_weight", weight, like)
    for _ in want[len(shape) :]:
        weight = ops.expand_dims(weight, -1)
    return weight


def hide(y_true, weight):
    """Returns targets that are 0 where the weight or mask is 0."""
    return ops.where(_seen(weight, y_true), y_true, 0.0)


def in_range(y_pred, weight):
    """Returns probabilities clipped to [0, 1] where the weight or mask is 0.

    There they may be any numbers. NaN stays NaN.
    """
    return ops.where(_seen(weight, y_pred), y_pred, ops.clip(y_pred, 0.0, 1.0))


def _seen(weight, like):
    """Tells where a weight or mask is not 0, with the axes of `like`."""
    seen = ops.cast(weight, "bool")
    for _ in range(len(like.shape) - len(seen.shape)):
        seen = ops.expand_dims(seen, -1)
    return seen


def _fit(shape, other):
    return len(shape) == len(other) and all(
        m is None or n is None or m == n
        for m, n in zip(shape, other, strict=True)
    )
