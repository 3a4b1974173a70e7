"""The shapes of several outputs."""


class SeveralShapes(tuple):
    """The result of `compute_output_shape` for several outputs.

    It is the tuple of their shapes. Slicing it raises an error: Keras layers
    that wrap another layer, such as `keras.layers.TimeDistributed`, would
    slice it like a single shape to remove the batch axis.

    Example:

    >>> from su_models.utils.several_shapes import SeveralShapes
    >>> SeveralShapes([(None, 7, 3), (None, 7)])
    ((None, 7, 3), (None, 7))
    """

    def __getitem__(self, index):
        if isinstance(index, slice):
            raise ValueError(
                "The layer must have one output to be wrapped by another "
                f"layer. Received: a layer with outputs of the shapes {self}"
            )
        return super().__getitem__(index)
