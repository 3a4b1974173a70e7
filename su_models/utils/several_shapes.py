"""The shapes of several outputs."""


class SeveralShapes(tuple):
    """What `compute_output_shape` returns for several outputs.

    It is the tuple of their shapes. A slice of it is an error: Keras' layers
    that wrap another one, such as `keras.layers.TimeDistributed`, cut the
    batch off what they take for the one shape.

    Example:

    >>> from su_models.utils.several_shapes import SeveralShapes
    >>> SeveralShapes([(None, 7, 3), (None, 7)])
    ((None, 7, 3), (None, 7))
    """

    def __getitem__(self, index):
        if isinstance(index, slice):
            raise ValueError(
                "The layer must have one output, where another layer wraps "
                f"it. Received: a layer with outputs of the shapes {self}"
            )
        return super().__getitem__(index)
