"""Atomic writing of files and folders."""

import contextlib
import ctypes
import os
import pathlib
import re
import secrets
import shutil
import sys
import tempfile

LEFTOVER = re.compile(r"\.new-[0-9a-f]{8}-.+")


@contextlib.contextmanager
def replacing(path):
    """Yields a temporary path to write to, which then replaces `path`.

    If the process is killed at any time, `path` is the old or the new file.
    The temporary file is in the same folder and has a new name each time, so
    that two processes that write the same file do not interfere. A killed
    process leaves its temporary file behind, which `sweep` removes.

    Args:
        path: file to write, a string or `pathlib.Path`.

    Example:

    >>> import pathlib, tempfile
    >>> from su_models.utils.files import replacing
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with replacing(folder / "a.txt") as new:
    ...     _ = new.write_text("whole")
    >>> [file.name for file in folder.iterdir()]
    ['a.txt']
    """
    path = pathlib.Path(path)
    # the random part is a prefix, since savers read the end of the name
    new = path.with_name(f".new-{secrets.token_hex(4)}-{path.name}")
    try:
        yield new
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def write_bytes(path, data):
    """Writes a file completely or not at all, even on a full disk.

    Args:
        path: file to write, a string or `pathlib.Path`.
        data: bytes.

    Raises:
        OSError: if the file cannot be written. The message contains `path`,
            whose file is not changed.
    """
    try:
        with replacing(path) as new, new.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(
                file.fileno()
            )  # some disks report only now that they are full
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno, reason, str(path)) from error


def leftovers(folder):
    """Returns the temporary files that killed processes left in a folder."""
    return [
        path
        for path in pathlib.Path(folder).iterdir()
        if LEFTOVER.fullmatch(path.name)
    ]


def sweep(folder):
    """Removes the temporary files that killed processes left in a folder.

    Call it only while no other process can write there (see `locked`).
    """
    for path in leftovers(folder):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path, owner, timeout=0.0):
    """Holds a lock of the operating system while the block runs.

    The lock ends with the process, even if it is killed. The file is removed
    with the lock; a killed process leaves the file, but not the lock.

    Args:
        path: the lock file.
        owner: name of the locked object, for the message.
        timeout: seconds to wait for another holder.

    Raises:
        BlockingIOError: if another process or thread holds the lock.
        OSError: if the file cannot be created.
    """
    import filelock  # here: `su-models --help` does not need it

    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=timeout)
    except filelock.Timeout:
        raise BlockingIOError(
            f"Another process is writing there. Received: {owner}"
        ) from None
    try:
        yield
    finally:
        # before the release: a process that has opened this file in the
        # meantime notices that it is deleted, and creates a new one
        with contextlib.suppress(OSError):
            os.unlink(path)
        lock.release()


@contextlib.contextmanager
def replacing_folder(path, check):
    """Yields the path of a temporary folder, which then replaces `path`.

    If the process is killed at any time, `path` is the old or the new folder.
    If the operating system cannot exchange two folders in one step (Linux and
    macOS can), `path` may be absent after a kill between two renames; the
    next call restores the old folder first. Each call removes the leftovers
    of killed processes.

    Args:
        path: folder to write, a string or `pathlib.Path`. Links are followed.
        check: function of `path` that raises an error if `path` must not be
            replaced; called if `path` exists.

    Raises:
        BlockingIOError: if another process is writing the same folder.
        OSError: if the folder cannot be written.
    """
    path = pathlib.Path(os.path.realpath(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    with contextlib.ExitStack() as stack:
        lock = path.with_name(f".{path.name}.lock")
        try:
            stack.enter_context(locked(lock, path))
            _recover(path)
            if path.exists():
                check(path)
            work = tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent)
        except BlockingIOError:
            raise
        except OSError as error:
            raise _unwritable(path, error) from error
        stack.callback(shutil.rmtree, work, ignore_errors=True)
        new, old = pathlib.Path(work, "new"), pathlib.Path(work, "old")
        yield new
        if not path.exists():
            new.rename(path)
        elif not exchange(new, path):
            path.rename(old)
            try:
                new.rename(path)
            except BaseException:
                old.rename(path)
                raise


def exchange(a, b):
    """Exchanges two paths in one step, if the operating system can.

    Returns:
        Whether the paths were exchanged.
    """
    calls = {  # function, arguments before each path, flag
        "linux": ("renameat2", [-100], 2),  # AT_FDCWD, RENAME_EXCHANGE
        "darwin": ("renamex_np", [], 2),  # RENAME_SWAP
    }
    if sys.platform not in calls:
        return False
    name, before, flag = calls[sys.platform]
    function = getattr(ctypes.CDLL(None), name, None)
    if function is None:
        return False
    a, b = os.fsencode(a), os.fsencode(b)
    return function(*before, a, *before, b, ctypes.c_uint(flag)) == 0


def _recover(path):
    """Restores a folder that a killed process moved, removes leftovers."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}")
    for work in path.parent.iterdir():
        if not name.fullmatch(work.name) or not work.is_dir():
            continue
        if not {entry.name for entry in work.iterdir()} <= {"new", "old"}:
            continue  # not a leftover
        if (work / "old").exists() and not path.exists():
            (work / "old").rename(path)
        shutil.rmtree(work, ignore_errors=True)


def _unwritable(path, error):
    return OSError(f"`path` cannot be written: {error}. Received: path={path}")
