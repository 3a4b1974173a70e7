"""Shapes that are refused before they are broadcast in silence."""


def check_shape(name, tensor, expected, broadcast=0):
    """Refuses a tensor of another shape than expected.

    Args:
        name: the argument's name, for the message.
        tensor: what was received.
        expected: its axes; None where any size will do.
        broadcast: so many of the first axes may also be of size 1.

    Raises:
        ValueError: if the number of axes or a known size differs.
    """
    shape, expected = tuple(tensor.shape), tuple(expected)
    fits = len(shape) == len(expected) and all(
        have == want or None in (have, want) or (have == 1 and i < broadcast)
        for i, (have, want) in enumerate(zip(shape, expected, strict=True))
    )
    if not fits:
        raise ValueError(
            f"`{name}` must be of shape {expected}. "
            f"Received: {name} of shape {shape}"
        )
