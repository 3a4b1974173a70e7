"""Copies of optimizers that share their variables but step differently."""

import functools
import re

import keras

from su_models.backend.sparse_rows import RowView


def adapted(optimizer, mixin, **attributes):
    """Returns a copy of an optimizer whose steps are changed by a mixin.

    The copy shares the variables of the original, so its `apply` updates the
    state of the original. It is used for one `apply`, and the attributes of
    the original do not change. If an optimizer wraps others, those are
    adapted instead of the wrapper.

    Args:
        optimizer: `keras.optimizers.Optimizer`.
        mixin: class. Its methods read the attributes below and call the
            optimizer's methods through `super()`.
        attributes: attributes of the copy.

    Raises:
        ValueError: if the optimizer already has the mixin with other
            attributes.
    """
    cls = type(optimizer)
    if hasattr(optimizer, "inner_optimizer"):
        inner = adapted(optimizer.inner_optimizer, mixin, **attributes)
        return copied_as(optimizer, cls, inner_optimizer=inner)
    if hasattr(optimizer, "optimizers"):
        inner = [adapted(o, mixin, **attributes) for o in optimizer.optimizers]
        return copied_as(optimizer, cls, _inner_optimizers=inner)
    if issubclass(cls, mixin):  # idempotent if the arguments are equal
        had = {name: vars(optimizer)[name] for name in attributes}
        if had != attributes:
            raise ValueError(
                "An optimizer must not be wrapped twice by the same wrapper: "
                "pass all arguments to one wrapper. "
                f"Received: {had} and {attributes}"
            )
        return optimizer
    return copied_as(optimizer, _mixed(cls, mixin), **attributes)


def copied_as(optimizer, cls, **attributes):
    """Returns a shallow copy; `copy.copy` would serialize a Keras object.

    Args:
        optimizer: `keras.optimizers.Optimizer`.
        cls: the class of the copy.
        attributes: attributes of the copy, which Keras does not track.
    """
    copied = object.__new__(cls)
    vars(copied).update(vars(optimizer))
    vars(copied).update(attributes)
    return copied


@functools.cache
def _mixed(cls, mixin):
    bases = (mixin,) if issubclass(cls, _Adapted) else (mixin, _Adapted)
    return type(f"{mixin.__name__}{cls.__name__}", (*bases, cls), {})


class _Adapted:
    """Lets any Keras optimizer update `RowView`s like variables."""

    def _get_variable_index(self, variable):
        if isinstance(variable, RowView):
            variable = variable.source
        return super()._get_variable_index(variable)

    def _use_weight_decay(self, variable):
        if isinstance(variable, RowView):
            variable = variable.source
        return super()._use_weight_decay(variable)

    def assign(self, variable, value):
        if isinstance(variable, RowView):
            variable.assign(value)
        else:
            super().assign(variable, value)

    def assign_add(self, variable, value):
        if isinstance(variable, RowView):
            variable.assign_add(value)
        else:
            super().assign_add(variable, value)

    def assign_sub(self, variable, value):
        if isinstance(variable, RowView):
            variable.assign_sub(value)
        else:
            super().assign_sub(variable, value)

    def _apply_weight_decay(self, variables):
        views = [v for v in variables if isinstance(v, RowView)]
        others = [v for v in variables if not isinstance(v, RowView)]
        if others:
            super()._apply_weight_decay(others)
        plain = keras.optimizers.Optimizer._apply_weight_decay
        inherited = super()._apply_weight_decay
        if views and inherited.__func__ is not plain:
            inherited(views)  # the optimizer defines its own decay
        elif self.weight_decay is not None:
            for view in filter(self._use_weight_decay, views):
                rate = keras.ops.cast(self.learning_rate, view.dtype)
                view.assign_sub(view.value * self.weight_decay * rate)


def check_patterns(patterns, argument, variables=None):
    """Rejects invalid patterns and, given variables, unmatched patterns.

    Args:
        patterns: list or dict of regular expressions.
        argument: name of the argument, for the message.
        variables: optional list of Keras variables.

    Raises:
        ValueError: if a pattern is not a regular expression, or is not found
            in the path of any variable.
    """
    for pattern in patterns:
        if not _is_expression(pattern):
            raise ValueError(
                f"`{argument}` must hold regular expressions. "
                f"Received: {argument}={patterns!r}"
            )
        if variables is None:
            continue
        paths = [v.path for v in variables]
        if not any(re.search(pattern, path) for path in paths):
            raise ValueError(
                f"`{argument}` must hold patterns that are found in the path "
                f"of a variable. The paths are {paths}. "
                f"Received: {argument}=[..., {pattern!r}, ...]"
            )


def _is_expression(pattern):
    try:
        re.compile(pattern)
    except (re.error, TypeError):
        return False
    return isinstance(pattern, str)
