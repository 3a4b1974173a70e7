"""LazyOptimizer: updates only the embedding rows of the batch."""

import dataclasses
from typing import Any

import keras

from su_models.backend.sparse_rows import RowView, choose_rows, sum_rows
from su_models.optimizers.adapted import adapted, copied_as
from su_models.optimizers.base import SummedSteps
from su_models.optimizers.summed_gradients import SummedGradients
from su_models.utils.checks import check_choice

# Optimizers with elementwise steps, in which rows do not depend on each other.
_BY_ROWS = {
    cls.update_step
    for cls in (
        keras.optimizers.SGD,
        keras.optimizers.Adadelta,
        keras.optimizers.Adagrad,
        keras.optimizers.Adam,
        keras.optimizers.Adamax,
        keras.optimizers.Ftrl,
        keras.optimizers.Lion,
        keras.optimizers.Nadam,
        keras.optimizers.RMSprop,
        keras.optimizers.ScheduleFreeAdamW,
    )
}
# attributes with one entry per variable of the model that are not moments
_NO_MOMENTS = {
    "_trainable_variables",
    "_variables",
    "_accumulated_gradients",
    "_model_variables_moving_average",
}
_MOMENTS = ("frozen", "decayed")


@keras.saving.register_keras_serializable(package="su_models")
class LazyOptimizer(SummedGradients):
    """Updates only the rows of an embedding that occur in the batch.

    Article: https://kexue.fm/archives/6869
        《Keras实现两个优化器：Lookahead和LazyOptimizer》

    An optimizer with momentum changes all rows at each step, including those
    of tokens that are not in the batch: their gradient is zero, but their
    moments are not. Rows of rare tokens are thus moved repeatedly along a few
    gradients, and overfit. Here a row is updated only if its gradient, summed
    over the batch, is not zero. All other rows keep exactly their weights.

    The moments of the other rows depend on `moments`:

    * `"frozen"`: they do not change, as in TensorFlow Addons' `LazyAdam`.
    * `"decayed"`: they change as in a step with gradient zero, m ← βm, as in
      the author's optimizer.

    Bias correction and learning rate schedules use the global step, which is
    counted once for all rows, updated or not.

    All other arguments belong to the inner optimizer and are set there.
    Clipping uses the summed gradients, decoupled weight decay applies only to
    updated rows, and accumulated gradients update the rows of all their
    batches. Moving averages and constraints apply to all rows, as in Keras. An
    L2 penalty in the loss updates every row: use weight decay instead.

    The order of wrappers does not matter: `LazyOptimizer(Lookahead(adam))`
    equals `Lookahead(LazyOptimizer(adam))`. The step along the gradient is
    lazy, whereas the step back applies to all rows, but does not move rows
    that were never updated. The same holds for
    `keras.optimizers.MultiOptimizer`. `LossScaleOptimizer` must be outermost.

    Cost: on TensorFlow the time of a step grows with the number of ids in the
    batch instead of the size of the table, and no gradient of the size of the
    table is created, if moments are frozen, if the inner optimizer is
    elementwise (all of Keras except Adafactor, Lamb and Muon; a custom
    optimizer if it inherits `update_step` from one of them), and if the
    gradient of the table comes only from lookups. Accumulation, moving
    averages, constraints and mixed precision process the whole table. Compile
    with `jit_compile=True`: without XLA, TensorFlow copies the table at each
    step. On PyTorch the gradient is dense, but the time of a step grows with
    the number of updated rows. On JAX the result is the same, at the cost of
    the inner optimizer.

    Differs: the author's optimizer increments the counter of the inner
    optimizer several times in a step, once for each embedding.

    Args:
        optimizer: `keras.optimizers.Optimizer`, built or not.
        moments: `"frozen"` or `"decayed"`.
        embeddings: list of layers, variables, or names of either. A layer
            stands for its variables of rank 2 and higher. Rows are along axis
            0. None selects all variables named `embeddings`, like those of
            `keras.layers.Embedding`.
        name: optional name.

    Raises:
        ValueError: if an argument is invalid; when the optimizer is built, if
            a name matches no variable.

    Example:

    >>> adam = keras.optimizers.Adam(1e-3)
    >>> optimizer = su_models.optimizers.LazyOptimizer(adam)
    >>> model = keras.Sequential([keras.layers.Embedding(9, 4)])
    >>> model.compile(optimizer, "mse")
    """

    def __init__(
        self, optimizer, moments="frozen", embeddings=None, name=None, **kwargs
    ):
        super().__init__(optimizer, name, **kwargs)
        self.moments = check_choice("moments", moments, _MOMENTS)
        self.embeddings = _names(embeddings)

    def build(self, variables):
        if self.built:
            return
        # first, so that a misspelled name leaves nothing built
        self._tables = {id(v) for v in _tables(variables, self.embeddings)}
        super().build(variables)

    def _adapted_inner(self):
        return adapted(
            self.inner_optimizer,
            _Lazy,
            loss_scale_factor=None,
            lazy_tables=self._tables,
            lazy_frozen=self.moments == "frozen",
        )

    def get_config(self):
        return {
            **super().get_config(),
            "moments": self.moments,
            "embeddings": self.embeddings,
        }


class _Lazy(SummedSteps):
    """Mixin for the inner optimizer of `LazyOptimizer`.

    The inner optimizer updates views of a table and its moments, either of
    the rows in the batch or of all rows. Then touched rows are written back.
    """

    def _apply_weight_decay(self, variables):
        # tables are decayed in their update step
        others = [v for v in variables if not self._is_lazy(v)]
        if others:
            super()._apply_weight_decay(others)

    def update_step(self, gradient, variable, learning_rate):
        if not self._is_lazy(variable):
            super().update_step(gradient, variable, learning_rate)
            return
        table = self._table(gradient, variable)
        stepping = self._stepping([table])
        super(_Lazy, stepping).update_step(
            table.gradient, table.view, learning_rate
        )
        self._write([table])

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        grads, variables, tables = list(grads), list(trainable_variables), []
        # Keras on PyTorch updates all variables at once
        if hasattr(self, "_parallel_update_step"):
            for i, variable in enumerate(variables):
                if self._is_lazy(variable):
                    tables.append(self._table(grads[i], variable))
                    grads[i] = tables[-1].gradient
                    variables[i] = tables[-1].view
        stepping = self._stepping(tables) if tables else self
        super(_Lazy, stepping)._backend_update_step(
            grads, variables, learning_rate
        )
        self._write(tables)

    def _is_lazy(self, variable):
        if isinstance(variable, RowView):
            return False
        source = self._trainable_variables[self._get_variable_index(variable)]
        return id(source) in self.lazy_tables

    def _table(self, gradient, variable):
        by_rows = self.lazy_frozen and _steps_by_rows(self)
        index = self._get_variable_index(variable)
        rows, gradient, touched = choose_rows(sum_rows(gradient), by_rows)
        view = RowView(variable, rows, self._trainable_variables[index])
        return _Table(index, rows, gradient, touched, view)

    def _stepping(self, tables):
        """Returns a copy whose moments are views, after weight decay."""
        stepping = copied_as(self, type(self))
        for name, listed in vars(self).items():
            if _lists_moments(name, listed, self._trainable_variables):
                listed = list(listed)
                for table in tables:
                    moment = listed[table.index]
                    if _has_rows(moment, table.view.source):
                        listed[table.index] = RowView(moment, table.rows)
                        table.moments.append(listed[table.index])
                vars(stepping)[name] = listed
        stepping._apply_weight_decay([table.view for table in tables])
        return stepping

    def _write(self, tables):
        for table in tables:
            table.view.write(table.touched)
            for moment in table.moments:
                moment.write(table.touched if self.lazy_frozen else None)


@dataclasses.dataclass
class _Table:
    """A table during its update.

    rows, gradient and touched are the results of `choose_rows`.
    """

    index: int
    rows: Any
    gradient: Any
    touched: Any
    view: RowView
    moments: list = dataclasses.field(default_factory=list)


def _steps_by_rows(optimizer):
    """Tells whether Keras' class behind the mixins is elementwise."""
    for cls in type(optimizer).__mro__:
        if issubclass(cls, keras.optimizers.Optimizer):
            if "update_step" in vars(cls):
                return cls.update_step in _BY_ROWS
    return False


def _lists_moments(name, listed, variables):
    return (
        isinstance(listed, list)
        and name not in _NO_MOMENTS
        and len(listed) == len(variables)
    )


def _has_rows(moment, table):
    """Tells whether an optimizer's variable has the rows of a table."""
    if not isinstance(moment, keras.Variable):
        return False
    shape, of_table = tuple(moment.shape), tuple(table.shape)
    # a vector of the table's width (Adafactor) is shared by all rows
    return shape == of_table or shape == of_table[:1] != of_table[1:2]


# ---- which variables


def _names(embeddings):
    """Returns names of layers or variables as a list for the config."""
    if embeddings is None:
        return None
    if not isinstance(embeddings, (list, tuple)):
        raise ValueError(
            "`embeddings` must be a list of layers, variables or their names. "
            f"Received: embeddings={embeddings!r}"
        )
    return [_name(x) for x in embeddings]


def _name(x):
    if isinstance(x, keras.Variable):
        return x.path
    if isinstance(x, keras.layers.Layer):
        return x.name
    if isinstance(x, str) and x:
        return x
    raise ValueError(
        "`embeddings` must hold layers, variables or their names. "
        f"Received: embeddings=[..., {x!r}, ...]"
    )


def _tables(variables, names):
    """Returns the variables that the names refer to."""
    candidates = [v for v in variables if len(v.shape) >= 2]
    if names is None:
        return [v for v in candidates if v.name == "embeddings"]
    found = []
    for name in names:
        named = [v for v in candidates if f"/{name}/" in f"/{v.path}/"]
        if not named:
            raise ValueError(
                "`embeddings` must name variables of rank 2 or more, or their "
                f"layers. The paths are {[v.path for v in candidates]}. "
                f"Received: embeddings=[..., {name!r}, ...]"
            )
        found += named
    return found
