"""Traditional characters as simplified ones."""


def simplifier():
    """Returns the function that simplifies texts, by the package `opencc`.

    Its argument and its result are lists of strings without line feeds.

    Raises:
        ImportError: if the package is not installed.
    """
    try:
        from opencc import OpenCC
    except ImportError as error:
        raise ImportError(
            "Simplifying needs the package `opencc`: "
            'pip install "su_models[opencc]"'
        ) from error
    convert = OpenCC("t2s").convert
    return lambda texts: convert("\n".join(texts)).split("\n")
