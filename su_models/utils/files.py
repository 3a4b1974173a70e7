"""Files that are whole or not there."""

import contextlib
import os
import pathlib


@contextlib.contextmanager
def replacing(path):
    """Yields a path beside `path` to write to; a rename follows success.

    Whenever the process dies, `path` is the old file or the new one.

    Args:
        path: file to write, a string or `pathlib.Path`.

    Example:

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with replacing(folder / "a.txt") as new:
    ...     _ = new.write_text("whole")
    >>> [file.name for file in folder.iterdir()]
    ['a.txt']
    """
    path = pathlib.Path(path)
    # in front: savers look at the end of the name
    new = path.with_name(f"new-{path.name}")
    try:
        yield new
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
