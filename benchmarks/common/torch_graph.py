"""Conversion of functional Keras models to PyTorch modules."""

import keras
import torch
from torch.nn import functional

_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
_FUNCTIONS = {
    "relu": functional.relu,
    "sigmoid": functional.sigmoid,
    "silu": functional.silu,
    "tanh": functional.tanh,
}


def to_torch(model, memory_format=torch.contiguous_format):
    """Builds a PyTorch module that is equivalent to a functional model.

    The graph is converted to plain PyTorch code (`torch.fx`), which
    `print(module.code)` shows, so that no graph is interpreted at run time.
    Images have their channels first, as PyTorch's layers require.

    Args:
        model: a functional `keras.Model` for inference, whose layers are each
            used once.
        memory_format: `torch.contiguous_format` or `torch.channels_last`, for
            images and the kernels of convolutions.

    Returns:
        A `torch.fx.GraphModule`. It takes the inputs of `model` in their
        order and returns its output.

    Raises:
        ValueError: if a layer has no counterpart here, or is used twice.
    """
    return _Converter(memory_format).convert(model)


class _Converter:
    """Converts layers: one method per class, from `fx` nodes to a node."""

    def __init__(self, memory_format):
        self.memory_format = memory_format
        self.root = torch.nn.Module()
        self.graph = torch.fx.Graph()

    def convert(self, model):
        nodes = {
            id(x): self.graph.placeholder(f"input_{i}")
            for i, x in enumerate(model.inputs)
        }
        for layer in model.layers:
            if isinstance(layer, keras.layers.InputLayer):
                continue
            inputs = keras.tree.flatten(layer.input)
            if missing := [x.name for x in inputs if id(x) not in nodes]:
                raise ValueError(
                    "Each layer must be used once. Received: "
                    f"{layer.name} with the inputs {missing}"
                )
            convert = getattr(self, f"layer_{type(layer).__name__}", None)
            if convert is None:
                raise ValueError(f"No counterpart. Received: layer={layer}")
            args = [nodes[id(x)] for x in inputs]
            nodes[id(layer.output)] = convert(layer, *args)
        if id(model.outputs[0]) not in nodes or len(model.outputs) != 1:
            raise ValueError(
                "The model must end in one output of a layer that is used "
                f"once. Received: outputs={model.outputs}"
            )
        self.graph.output(nodes[id(model.outputs[0])])
        module = torch.fx.GraphModule(self.root, self.graph)
        module.eval().requires_grad_(False)
        return module.to(memory_format=self.memory_format)

    # ---- with weights

    def layer_Dense(self, layer, x):
        kernel, n_in = _tensor(layer.kernel), layer.kernel.shape[0]
        if _rank(layer.input) == 4:  # at each position of an image
            kernel = kernel.T[:, :, None, None]
            module = torch.nn.Conv2d(n_in, layer.units, 1, bias=layer.use_bias)
        else:
            _check(layer, _rank(layer.input) == 2)
            kernel = kernel.T
            module = torch.nn.Linear(n_in, layer.units, bias=layer.use_bias)
        x = self.module(layer, module, x, kernel, layer.bias)
        return self.apply(layer, x)

    def layer_Conv2D(self, layer, x):
        plain = layer.groups, *layer.strides, *layer.dilation_rate
        last = layer.data_format == "channels_last"
        _check(layer, last and set(plain) == {1})
        module = torch.nn.Conv2d(
            layer.kernel.shape[2],
            layer.filters,
            layer.kernel_size,
            padding=layer.padding,
            bias=layer.use_bias,
        )
        kernel = _tensor(layer.kernel).permute(3, 2, 0, 1)
        x = self.module(layer, module, x, kernel, layer.bias)
        return self.apply(layer, x)

    def layer_GroupNormalization(self, layer, x):
        width = layer.gamma.shape[0]
        _check(layer, layer.groups > 0 and _rank(layer.input) == 4)
        module = torch.nn.GroupNorm(layer.groups, width, layer.epsilon)
        return self.module(layer, module, x, layer.gamma, layer.beta)

    def layer_LayerNormalization(self, layer, x):
        _check(layer, _rank(layer.input) == 2)
        module = torch.nn.LayerNorm(layer.gamma.shape[0], layer.epsilon)
        return self.module(layer, module, x, layer.gamma, layer.beta)

    def layer_TimestepEmbedding(self, layer, t):
        module = torch.nn.Embedding(layer.num_steps, layer.dim)
        t = self.graph.call_function(torch.sub, (t, 1))
        return self.module(layer, module, t, layer.table)

    def layer_AddTimestep(self, layer, x, vector):
        if _rank(layer.output) == 4:
            vector = self.graph.call_method(
                "unflatten", (vector, 1, (-1, 1, 1))
            )
        return self.graph.call_function(torch.add, (x, vector))

    def module(self, layer, module, x, weight, bias=None):
        with torch.no_grad():
            module.weight.copy_(_tensor(weight))
            if bias is not None:
                module.bias.copy_(_tensor(bias))
        self.root.add_module(layer.name, module)
        return self.graph.call_module(layer.name, (x,))

    # ---- without

    def layer_Activation(self, layer, x):
        return self.apply(layer, x)

    def apply(self, layer, x):
        name = keras.activations.serialize(layer.activation)
        if name == "linear":
            return x
        _check(layer, name in _FUNCTIONS)
        return self.graph.call_function(_FUNCTIONS[name], (x,))

    def layer_Dropout(self, layer, x):
        return x

    def layer_Add(self, layer, x, *others):
        for y in others:
            x = self.graph.call_function(torch.add, (x, y))
        return x

    def layer_Concatenate(self, layer, *xs):
        rank = _rank(layer.output)
        _check(layer, layer.axis in (-1, rank - 1))
        return self.graph.call_function(torch.cat, (xs, 1 if rank == 4 else -1))

    def layer_AveragePooling2D(self, layer, x):
        return self.pool(layer, functional.avg_pool2d, x)

    def layer_MaxPooling2D(self, layer, x):
        return self.pool(layer, functional.max_pool2d, x)

    def pool(self, layer, function, x):
        _check(layer, layer.padding == "valid")
        sizes = layer.pool_size, layer.strides
        return self.graph.call_function(function, (x, *sizes))

    def layer_UpSampling2D(self, layer, x):
        _check(layer, layer.interpolation == "nearest")
        factors = tuple(float(n) for n in layer.size)
        return self.graph.call_function(
            functional.interpolate, (x,), {"scale_factor": factors}
        )

    def layer_Reshape(self, layer, x):
        x = self.channels_last(layer, x)
        shape = layer.output.shape[1:]
        x = self.graph.call_method("reshape", (x, -1, *shape))
        return self.channels_first(layer, x)

    def layer_Flatten(self, layer, x):
        return self.layer_Reshape(layer, x)

    def layer_Permute(self, layer, x):
        x = self.channels_last(layer, x)
        x = self.graph.call_method("permute", (x, 0, *layer.dims))
        return self.channels_first(layer, x)

    def channels_last(self, layer, x):
        if _rank(layer.input) != 4:
            return x
        return self.graph.call_method("permute", (x, *_TO_LAST))

    def channels_first(self, layer, x):
        if _rank(layer.output) != 4:
            return x
        x = self.graph.call_method("permute", (x, *_TO_FIRST))
        # otherwise the next layers would use an arbitrary memory format
        order = {"memory_format": self.memory_format}
        return self.graph.call_method("contiguous", (x,), order)


def _tensor(x):
    if isinstance(x, torch.Tensor) and not isinstance(x, torch.nn.Parameter):
        return x
    return torch.from_numpy(keras.ops.convert_to_numpy(x).copy())


def _rank(x):
    return len(x.shape)


def _check(layer, fits):
    if not fits:
        raise ValueError(
            "No counterpart for a layer with these arguments. "
            f"Received: {type(layer).__name__}, {layer.get_config()}"
        )
