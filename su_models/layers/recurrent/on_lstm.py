"""ON-LSTM: an LSTM whose neurons are ordered by levels of a hierarchy."""

import keras
from keras import ops

from su_models.backend.match_axes import match_axes
from su_models.backend.precision import accumulated_matmul, sum_dtype
from su_models.backend.time_loop import has_time_loop
from su_models.layers.recurrent.on_lstm_steps import (
    level_softmax,
    master_gates,
    on_lstm,
)
from su_models.utils.checks import (
    check_choice,
    check_flag,
    check_mask,
    check_seed,
    check_shape,
    check_share,
    check_size,
)
from su_models.utils.several_shapes import SeveralShapes

# the arguments of `keras.layers.RNN` that are flags
_FLAGS = (
    "return_sequences",
    "return_state",
    "go_backwards",
    "stateful",
    "zero_output_for_mask",
)


@keras.saving.register_keras_serializable(package="su_models")
class ONLSTMCell(keras.layers.Layer):
    """One step of `ONLSTM`, for `keras.layers.RNN` and `StackedRNNCells`.

    Article: https://kexue.fm/archives/6621
        《ON-LSTM：用有序神经元表达层次结构》
    Paper: https://arxiv.org/abs/1810.09536

    The gates f, i, o and the candidate ĉ are those of an LSTM. Two more gates,
    the master gates, determine the levels of the memory that keep the history
    and the levels that the input is written to:

        f̃ = cs→ softmax(W_f̃ x + U_f̃ h + b_f̃)
        ĩ = cs← softmax(W_ĩ x + U_ĩ h + b_ĩ),   ω = f̃ ∘ ĩ

        c = ω ∘ (f ∘ c + i ∘ ĉ) + (f̃ - ω) ∘ c + (ĩ - ω) ∘ ĉ         Eq. (10)
        h = o ∘ tanh(c)

    cs→ is the cumulative sum from the left, cs← from the right: low levels
    are rewritten at each step, high levels persist. The paper uses
    ĩ = 1 - cs→ softmax(...) instead, Eq. (11), which equals the author's ĩ
    minus the softmax itself: its highest level is never written to.

    The `units` form `levels` groups of neighbours that share a value of the
    master gates. With one level f̃ = ĩ = 1, and the cell is an LSTM cell. The
    master gates are computed in float32 under every policy. A cell has no
    randomness.

    The columns of the kernels and of the bias are i, f, ĉ, o (`units` each),
    as in `keras.layers.LSTM`, then f̃, ĩ (`levels` each).

    Args:
        units: int >= 1. Size of output and memory.
        levels: int >= 1 that divides `units`.
        master_input: `"su"` (the author's ĩ) or `"paper"`.
        activation: activation of ĉ and of the memory.
        recurrent_activation: activation of f, i and o.
        use_bias: bool. Whether there is a bias.
        kernel_initializer: initializer of the kernel W of the inputs.
        recurrent_initializer: initializer of the kernel U of the last output.
        bias_initializer: initializer of the bias.
        kernel_regularizer: optional.
        recurrent_regularizer: optional.
        bias_regularizer: optional.

    Call arguments:
        inputs: `(batch, features)`.
        states: list of output and memory of the previous step, each
            `(batch, units)`.

    Returns:
        The output `(batch, units)` and the list of the two new states.

    Raises:
        ValueError: if `levels` does not divide `units`, an argument is none
            of the above, or a shape is another one.

    Example:

    >>> cell = su_models.layers.ONLSTMCell(units=12, levels=3)
    >>> layer = keras.layers.RNN(cell)
    >>> tuple(layer(keras.ops.ones((2, 7, 5))).shape)
    (2, 12)
    """

    def __init__(
        self,
        units,
        levels,
        master_input="su",
        activation="tanh",
        recurrent_activation="sigmoid",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        kernel_regularizer=None,
        recurrent_regularizer=None,
        bias_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units = check_size("units", units)
        self.levels = check_size("levels", levels)
        if units % levels:
            raise ValueError(
                "`levels` must divide `units`. "
                f"Received: units={units}, levels={levels}"
            )
        self.master_input = check_choice(
            "master_input", master_input, ("su", "paper")
        )
        self.activation = keras.activations.get(activation)
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.use_bias = check_flag("use_bias", use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.recurrent_initializer = keras.initializers.get(
            recurrent_initializer
        )
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = keras.regularizers.get(
            recurrent_regularizer
        )
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.state_size = [self.units, self.units]
        self.output_size = self.units

    def build(self, input_shape):
        if len(input_shape) != 2 or input_shape[-1] is None:
            raise ValueError(
                "A step's inputs must be `(batch, features)` with known "
                f"features. Received: input_shape={input_shape}"
            )
        columns = 4 * self.units + 2 * self.levels
        self.kernel = self.add_weight(
            shape=(input_shape[-1], columns),
            name="kernel",
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, columns),
            name="recurrent_kernel",
            initializer=self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(columns,),
                name="bias",
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
            )

    def call(self, inputs, states):
        _check_states(states, inputs, self.units)
        z = self.project(inputs, self.kernel)
        return self.step(z, states, self.recurrent_kernel)

    @property
    def master_forget_columns(self):
        """The columns of f̃ in the kernels, a slice."""
        return slice(4 * self.units, 4 * self.units + self.levels)

    def project(self, inputs, kernel, columns=slice(None)):
        """Returns the part of the gates' arguments that the inputs determine.

        Args:
            inputs: `(batch, ..., features)`, of any number of steps.
            kernel: the cell's own kernel, or the same after drop-connect.
            columns: optional slice of the kernel's columns.

        Returns:
            A tensor `(batch, ..., 4 units + 2 levels)`, or the given columns
            of it.
        """
        z = accumulated_matmul(inputs, kernel[:, columns], inputs.dtype)
        return z if self.bias is None else z + self.bias[columns]

    def step(self, z, states, recurrent_kernel):
        """Computes one step from `states` and the result of `project`.

        Args:
            z: result of `project`, `(batch, 4 units + 2 levels)`.
            states: list of output and memory, `(batch, units)` each.
            recurrent_kernel: the cell's own, or the same after drop-connect.

        Returns:
            The output and the list of the two new states.
        """
        h, c = states
        z = z + accumulated_matmul(h, recurrent_kernel, h.dtype)
        i, f, c_hat, o = (
            z[:, k * self.units : (k + 1) * self.units] for k in range(4)
        )
        i, f, o = (self.recurrent_activation(x) for x in (i, f, o))
        c_hat = self.activation(c_hat)
        master_f, master_i = self._master_gates(z[:, 4 * self.units :])
        omega = master_f * master_i
        # Eq. (10), with c and ĉ taken out of the brackets
        c = (omega * f + (master_f - omega)) * c
        c = c + (omega * i + (master_i - omega)) * c_hat
        h = o * self.activation(c)
        return h, [h, c]

    def _master_gates(self, z):
        """Returns f̃ and ĩ, `(b, units)` each."""
        # with the 8 bits of bfloat16 a softmax would sum to 1 ± 1 %
        wide = sum_dtype(self.compute_dtype)
        z = ops.cast(ops.reshape(z, (-1, 2, self.levels)), wide)
        return master_gates(
            level_softmax(z), self.units, self.master_input, self.compute_dtype
        )

    def get_initial_state(self, batch_size=None):
        """Returns the states before the first step: zeros."""
        shape = (batch_size, self.units)
        return [ops.zeros(shape, dtype=self.compute_dtype) for _ in range(2)]

    def compute_output_shape(self, input_shape, states_shape=None):
        shape = (input_shape[0], self.units)
        return shape, [shape, shape]

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "levels": self.levels,
            "master_input": self.master_input,
            "activation": keras.activations.serialize(self.activation),
            "recurrent_activation": keras.activations.serialize(
                self.recurrent_activation
            ),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "recurrent_initializer": keras.initializers.serialize(
                self.recurrent_initializer
            ),
            "bias_initializer": keras.initializers.serialize(
                self.bias_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
            "recurrent_regularizer": keras.regularizers.serialize(
                self.recurrent_regularizer
            ),
            "bias_regularizer": keras.regularizers.serialize(
                self.bias_regularizer
            ),
        }


@keras.saving.register_keras_serializable(package="su_models")
class ONLSTM(keras.layers.RNN):
    """Ordered Neurons LSTM: learns a hierarchy and can return it.

    Article: https://kexue.fm/archives/6621
        《ON-LSTM：用有序神经元表达层次结构》
    Paper: https://arxiv.org/abs/1810.09536

    `ONLSTMCell` documents a single step. The share of the history that a step
    forgets gives the level of the hierarchy at which a new part begins:

        d_f ≈ Σ_k k p_f(k) = n (1 - mean(f̃)) + 1,   k = 1, ..., n    Eq. (14)

    `return_distances=True` returns 1 - mean(f̃), the sequence of Eq. (15), with
    values in [0, 1); `su_models.text.induce_tree` builds a tree from it.

    Masked steps have no effect: states are carried over them, and their
    distances are 0.

    On TensorFlow and JAX, with the default activations, training uses a
    hand-written backward pass through time. It is faster than automatic
    differentiation and supports derivatives of any order, but with
    `training=True` JAX has no forward mode (`jax.jvp`) through the layer.

    Differs: the author's code drops connections of both kernels at one rate,
    the paper's code those of the recurrent kernel; here each kernel has its
    own rate. Each call draws one mask for all its samples and steps.

    Args:
        units: int >= 1. Size of output and memory.
        levels: int >= 1 that divides `units`.
        master_input: `"su"` (the author's ĩ) or `"paper"`.
        return_distances: bool. Whether to return the distances. Cannot be
            combined with `go_backwards`, and hence not be used inside
            `keras.layers.Bidirectional`.
        dropconnect: float in [0, 1). Share of the kernel's entries that are
            set to 0 in a training step; the others are scaled up.
        recurrent_dropconnect: float in [0, 1). The same for the recurrent
            kernel.
        seed: optional int from 0 to 2³¹ - 1. Seed of drop-connect.
        activation: activation of ĉ and of the memory.
        recurrent_activation: activation of f, i and o.
        use_bias: bool. Whether there is a bias.
        kernel_initializer: initializer of the kernel.
        recurrent_initializer: initializer of the recurrent kernel.
        bias_initializer: initializer of the bias.
        kernel_regularizer: optional.
        recurrent_regularizer: optional.
        bias_regularizer: optional.
        **kwargs: arguments of `keras.layers.RNN`: `return_sequences`,
            `return_state`, `go_backwards`, `stateful`,
            `zero_output_for_mask`, `activity_regularizer`, `name`, `dtype`;
            `unroll` is not supported.

    Call arguments:
        sequences: `(batch, length, features)`.
        initial_state: optional list of output and memory before the first
            step, `(batch, units)` each.
        mask: optional booleans `(batch, length)`, True = real.
        training: bool. Whether connections are dropped.

    Returns:
        The last output `(batch, units)`, or all outputs, `(batch, length,
        units)`, with `return_sequences`. With `return_distances`, float32
        distances `(batch, length)` follow; with `return_state`, the last
        output and the last memory.

    Raises:
        ValueError: if `levels` does not divide `units`, an argument is none
            of the above, or a shape is another one.

    Example:

    >>> layer = su_models.layers.ONLSTM(12, levels=3, return_distances=True)
    >>> outputs, distances = layer(keras.ops.ones((2, 7, 5)))
    >>> tuple(outputs.shape), tuple(distances.shape)
    ((2, 12), (2, 7))
    """

    def __init__(
        self,
        units,
        levels,
        master_input="su",
        return_distances=False,
        dropconnect=0.0,
        recurrent_dropconnect=0.0,
        seed=None,
        activation="tanh",
        recurrent_activation="sigmoid",
        use_bias=True,
        kernel_initializer="glorot_uniform",
        recurrent_initializer="orthogonal",
        bias_initializer="zeros",
        kernel_regularizer=None,
        recurrent_regularizer=None,
        bias_regularizer=None,
        **kwargs,
    ):
        flags = {
            name: check_flag(name, kwargs[name])
            for name in _FLAGS
            if name in kwargs
        }
        kwargs = {**kwargs, **flags}
        return_distances = check_flag("return_distances", return_distances)
        if check_flag("unroll", kwargs.pop("unroll", False)):
            raise ValueError(
                "`unroll` must be False: an unrolled loop takes minutes to "
                "compile, and masks are wrong on some backends. "
                "Received: unroll=True"
            )
        if return_distances and kwargs.get("go_backwards"):
            raise ValueError(
                "`return_distances` must not be combined with `go_backwards`, "
                "nor used inside `Bidirectional`. "
                "Received: return_distances=True, go_backwards=True"
            )
        cell = ONLSTMCell(
            units,
            levels,
            master_input,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            dtype=kwargs.get("dtype"),
            trainable=kwargs.get("trainable", True),
            name="on_lstm_cell",
        )
        super().__init__(cell, **kwargs)
        self.return_distances = return_distances
        self.dropconnect = check_share("dropconnect", dropconnect)
        self.recurrent_dropconnect = check_share(
            "recurrent_dropconnect", recurrent_dropconnect
        )
        self.seed = check_seed(seed)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self._distances = None  # from inner_loop to call

    def build(self, sequences_shape, initial_state_shape=None):
        if len(sequences_shape) != 3:
            raise ValueError(
                "The inputs must be `(batch, length, features)`. "
                f"Received: sequences_shape={sequences_shape}"
            )
        super().build(sequences_shape)

    @property
    def variables(self):
        """All variables, including the states of a stateful layer.

        Keras' RNN omits the states, so its JAX trainer would lose them.
        """
        return [*super().variables, *(self.states or ())]

    def call(self, sequences, initial_state=None, mask=None, training=False):
        if initial_state is not None:
            _check_states(initial_state, sequences, self.cell.units)
            initial_state = [
                match_axes("state", state, sequences)
                for state in keras.tree.flatten(initial_state)
            ]
        if mask is not None:
            mask = keras.tree.flatten(mask)[0]
            check_shape("mask", mask, sequences.shape[:2])
            mask = check_mask("mask", mask, "a step is real")
            mask = match_axes("mask", mask, sequences, 2)
        results = super().call(
            sequences,
            initial_state=initial_state,
            mask=mask,
            training=training,
        )
        if not self.return_distances:
            return results
        distances, self._distances = self._distances, None
        outputs, *states = results if self.return_state else (results,)
        return outputs, distances, *states

    def inner_loop(self, sequences, initial_state, mask, training=False):
        """Runs all steps; `keras.layers.RNN.call` calls this method."""
        if self.stateful:
            # PyTorch changes the states in place before it takes gradients
            initial_state = [ops.copy(state) for state in initial_state]
        kernel, recurrent_kernel = kernels = [
            self._drop(weight, rate, training)
            for weight, rate in (
                (self.cell.kernel, self.dropconnect),
                (self.cell.recurrent_kernel, self.recurrent_dropconnect),
            )
        ]
        zero = mask is not None and self.zero_output_for_mask
        given = sequences, initial_state, mask, kernels
        if self._has_own_loop():
            last, outputs, states = self._own_loop(*given, training)
        else:
            every = self.return_sequences or self.return_distances or zero
            last, outputs, states = self._keras_loop(*given, every)
        if self.return_distances:
            before = _shift(outputs, initial_state[0], mask)
            columns = self.cell.master_forget_columns
            logits = self.cell.project(sequences, kernel, columns)
            logits += accumulated_matmul(
                before, recurrent_kernel[:, columns], before.dtype
            )
            self._distances = _distances(logits, mask)
        if zero:
            real = ops.flip(mask, axis=1) if self.go_backwards else mask
            outputs = ops.where(ops.expand_dims(real, -1), outputs, 0.0)
            last = outputs[:, -1]
        return last, outputs, states

    def _has_own_loop(self):
        return (
            has_time_loop()
            and self.cell.activation is keras.activations.tanh
            and self.cell.recurrent_activation is keras.activations.sigmoid
        )

    def _own_loop(self, sequences, initial_state, mask, kernels, training):
        """Returns the last output, all outputs, and the final states."""
        dtype = self.compute_dtype
        bias = self.cell.bias
        outputs, *states = on_lstm(
            ops.cast(_swap(sequences), dtype),
            [ops.cast(state, dtype) for state in initial_state],
            kernels,
            None if bias is None else ops.copy(bias),
            self.cell.levels,
            self.cell.master_input,
            None if mask is None else ops.transpose(mask),
            self.go_backwards,
            training,
        )
        if self.go_backwards:
            outputs = ops.flip(outputs, axis=0)
        return states[0], _swap(outputs), states

    def _keras_loop(self, sequences, initial_state, mask, kernels, every):
        """Does the same for any activation; all outputs only if `every`."""
        in_loop, recurrent_kernel = kernels
        if sequences.shape[-1] >= self.cell.units:
            # for fewer features, projecting inside the loop is faster
            sequences = self.cell.project(sequences, in_loop)
            in_loop = None
        loop = keras.layers.RNN(
            _Step(self.cell, in_loop, recurrent_kernel),
            return_sequences=every,
            go_backwards=self.go_backwards,
            name="loop",
        )
        return loop.inner_loop(sequences, initial_state, mask)

    def _drop(self, weight, rate, training):
        """Returns a weight after drop-connect."""
        # a copy: on TensorFlow `convert_to_tensor` returns the variable, but
        # a custom gradient needs tensors
        weight = ops.copy(weight)
        if not training or not rate:
            return weight
        return keras.random.dropout(weight, rate, seed=self.seed_generator)

    def compute_output_shape(self, sequences_shape, initial_state_shape=None):
        shapes = super().compute_output_shape(sequences_shape)
        if not self.return_distances:
            return shapes
        outputs, *states = shapes if self.return_state else (shapes,)
        distances = tuple(sequences_shape[:2])
        return SeveralShapes([outputs, distances, *states])

    def compute_output_spec(self, sequences, *args, **kwargs):
        if not self.return_distances:
            return super().compute_output_spec(sequences, *args, **kwargs)
        shapes = self.compute_output_shape(sequences.shape)
        dtypes = [self.compute_dtype] * len(shapes)
        dtypes[1] = "float32"
        return tuple(map(keras.KerasTensor, shapes, dtypes))

    def compute_mask(self, sequences, mask=None):
        masks = super().compute_mask(sequences, mask)
        if not self.return_distances:
            return masks
        outputs, *states = masks if self.return_state else (masks,)
        return [outputs, None, *states]

    def get_config(self):
        config = super().get_config()
        cell = self.cell.get_config()
        for name in ("cell", "unroll"):
            del config[name]
        for name in ("name", "trainable", "dtype"):
            del cell[name]
        return {
            **config,
            **cell,
            "return_distances": self.return_distances,
            "dropconnect": self.dropconnect,
            "recurrent_dropconnect": self.recurrent_dropconnect,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        return cls(**config)


class _Step:
    """A cell with the kernels of this call, for Keras' loop.

    Without a kernel, the inputs are already projected.
    """

    def __init__(self, cell, kernel, recurrent_kernel):
        self.cell, self.kernel = cell, kernel
        self.recurrent_kernel = recurrent_kernel
        self.state_size = cell.state_size

    def call(self, x, states):
        z = x if self.kernel is None else self.cell.project(x, self.kernel)
        return self.cell.step(z, states, self.recurrent_kernel)

    __call__ = call


def _swap(x):
    """Swaps batch and time."""
    return ops.transpose(x, (1, 0, 2))


def _shift(outputs, first, mask):
    """Returns the previous output of each step; `first` for the first."""
    first = ops.expand_dims(first, 1)  # (b, 1, units)
    before = ops.concatenate([first, outputs[:, :-1]], axis=1)  # (b, n, units)
    if mask is None:
        return before
    # the loop's outputs before the first real step differ among backends
    real = ops.cast(mask, "int32")  # (b, n)
    begun = ops.cumsum(real, axis=1) - real > 0
    return ops.where(ops.expand_dims(begun, -1), before, first)


def _distances(logits, mask):
    """Returns 1 - mean(f̃) as Σ_k (k - 1) p_f(k) / n, by Eq. (14)."""
    n = logits.shape[-1]
    p = level_softmax(ops.cast(logits, "float32"))  # (b, n, levels)
    distances = ops.sum(p * ops.arange(n, dtype="float32"), axis=-1) / n
    return distances if mask is None else ops.where(mask, distances, 0.0)


def _check_states(states, inputs, units):
    """Rejects states that would broadcast or fail with an obscure error."""
    flat = keras.tree.flatten(states)
    if len(flat) != 2:
        raise ValueError(
            "There must be two states, the output and the memory. "
            f"Received: {len(flat)} states"
        )
    for state in flat:
        check_shape("state", state, (inputs.shape[0], units))
