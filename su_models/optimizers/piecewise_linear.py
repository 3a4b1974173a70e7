"""A piecewise linear learning rate."""

import keras
from keras import ops

from su_models.utils.checks import check_positive, is_integer, is_real


@keras.saving.register_keras_serializable(package="su_models")
class PiecewiseLinear(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate schedule that is linear between given points.

    Article: https://kexue.fm/archives/7094
        《6个派生优化器的简单介绍及其实现》

    `{1000: 1, 20000: 0.1}` means that the rate rises from 0 to 1 in the first
    1000 steps (the warmup), falls to 0.1 at step 20 000, and remains 0.1.
    These numbers are multiplied by `learning_rate`. A schedule without a
    number for step 0 begins at 0, so the first update, t = 0, has no effect.

    The step is the optimizer's counter. With `gradient_accumulation_steps`
    Keras passes the number of batches to schedules, as bert4keras does.

    Args:
        schedule: dict from steps, integers >= 0, to numbers >= 0; or a list of
            such pairs.
        learning_rate: float > 0. Factor of all numbers.
        name: optional name.

    Raises:
        ValueError: if an argument is invalid.

    Example:

    >>> schedule = {1000: 1, 20000: 0.1}
    >>> rate = su_models.optimizers.PiecewiseLinear(schedule, 2e-5)
    >>> optimizer = keras.optimizers.Adam(rate)
    >>> print(f"{float(rate(500)):.1e}")
    1.0e-05
    """

    def __init__(self, schedule, learning_rate=1.0, name="PiecewiseLinear"):
        super().__init__()
        self.schedule = _points(schedule)
        self.learning_rate = check_positive("learning_rate", learning_rate)
        self.name = name

    def __call__(self, step):
        t = ops.cast(step, "float32")
        points = [*self.schedule]
        if points[0][0] > 0:
            points.insert(0, (0, 0.0))
        value = ops.full_like(t, points[-1][1])
        for (start, low), (end, high) in zip(
            points[-2::-1], points[:0:-1], strict=True
        ):
            line = low + (t - start) * ((high - low) / (end - start))
            value = ops.where(t < end, line, value)
        return ops.multiply(value, self.learning_rate)

    def get_config(self):
        return {
            "schedule": [list(point) for point in self.schedule],
            "learning_rate": self.learning_rate,
            "name": self.name,
        }


def _points(schedule):
    """Returns sorted pairs of a step and a number."""
    pairs = schedule.items() if isinstance(schedule, dict) else schedule
    if not isinstance(schedule, (dict, list, tuple)) or not all(
        isinstance(p, (list, tuple)) and len(p) == 2 for p in pairs
    ):
        raise ValueError(
            "`schedule` must be a dict, or a list of pairs. "
            f"Received: schedule={schedule!r}"
        )
    points = sorted((_step(step, schedule), value) for step, value in pairs)
    numbers = all(is_real(value) and value >= 0 for _, value in points)
    if not points or not numbers or len(dict(points)) < len(points):
        raise ValueError(
            "`schedule` must have one number >= 0 for each of its steps. "
            f"Received: schedule={schedule!r}"
        )
    return [(step, float(value)) for step, value in points]


def _step(step, schedule):
    if isinstance(step, str) and step.isdecimal():
        step = int(step)  # JSON turns the keys of a dict into strings
    if not is_integer(step) or step < 0:
        raise ValueError(
            "`schedule` must have integers >= 0 as steps. "
            f"Received: schedule={schedule!r}"
        )
    return int(step)
