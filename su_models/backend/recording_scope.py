"""A stateless scope that records which Keras variables are used."""

import keras


class RecordingScope(keras.StatelessScope):
    """Records reads and changes of Keras variables without changing them.

    Inside, reads return the mapped value, else the value of an enclosing
    stateless scope, else the variable's own; assignments change only the
    scope. Losses that layers add inside can be read inside, and are discarded
    at the end.

    Args:
        state_mapping: optional pairs of a `keras.Variable` and its value.
        initialize_variables: whether variables that are created inside are
            initialized at the end, as in `keras.StatelessScope`.

    Attributes:
        read: dict from id to each variable that was read without being
            mapped.

    Example:

    >>> counter = keras.Variable(1.0)
    >>> with su_models.backend.RecordingScope() as scope:
    ...     value = counter.assign_add(1.0)
    >>> for pair in scope.changes():
    ...     print(*map(keras.ops.convert_to_numpy, pair), sep=" -> ")
    1.0 -> 2.0
    """

    def __init__(self, state_mapping=None, initialize_variables=True):
        super().__init__(
            state_mapping=state_mapping,
            collect_losses=True,
            initialize_variables=initialize_variables,
        )
        self.read = {}
        self._changed = {}

    def get_current_value(self, variable):
        """Returns the variable's value in this scope, or None."""
        value = self.state_mapping.get(id(variable))
        if value is None:
            self.read[id(variable)] = variable
            outer = getattr(self, "original_scope", None)
            if outer is not None:
                value = outer.get_current_value(variable)
        return value

    def add_update(self, update):
        """Records an assignment to a variable."""
        super().add_update(update)
        variable, _ = update
        self._changed[id(variable)] = variable

    def changes(self):
        """Returns pairs of each changed variable and its new value."""
        return [
            (variable, self.state_mapping[key])
            for key, variable in self._changed.items()
        ]
