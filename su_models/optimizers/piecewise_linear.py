"""Learning rates along straight lines."""

import keras
from keras import ops

from su_models.utils.checks import is_integer, is_real


@keras.saving.register_keras_serializable(package="su_models")
class PiecewiseLinear(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that runs along straight lines from point to point.

    Article: https://kexue.fm/archives/7094
        《6个派生优化器的简单介绍及其实现》

    `{1000: 1, 20000: 0.1}` is: from 0 up to 1 in the first 1000 steps (the
    warmup), down to 0.1 at step 20 000, 0.1 from then on. These numbers are
    times `learning_rate`. Unless the schedule has a number for step 0 it
    begins at 0, so that the very first update, t = 0, changes nothing.

    The step is the optimizer's counter. With `gradient_accumulation_steps`
    Keras hands schedules the number of batches, as bert4keras does.

    Args:
        schedule: dict from steps, integers >= 0, to numbers >= 0; or a list of
            such pairs.
        learning_rate: float > 0, which all are multiplied by.
        name: optional name.

    Example:

    >>> schedule = {1000: 1, 20000: 0.1}
    >>> rate = su_models.optimizers.PiecewiseLinear(schedule, 2e-5)
    >>> optimizer = keras.optimizers.Adam(rate)
    >>> print(f"{float(rate(500)):.1e}")
    1.0e-05
    """

    def __init__(self, schedule, learning_rate=1.0, name="PiecewiseLinear"):
        super().__init__()
        if not is_real(learning_rate) or learning_rate <= 0:
            raise ValueError(
                "`learning_rate` must be a number > 0. "
                f"Received: learning_rate={learning_rate!r}"
            )
        self.schedule = _points(schedule)
        self.learning_rate = learning_rate
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
        step = int(step)  # keys of a dict that went through JSON
    if not is_integer(step) or step < 0:
        raise ValueError(
            "The steps of `schedule` must be integers >= 0. "
            f"Received: schedule={schedule!r}"
        )
    return int(step)
