"""Checkpoints of TensorFlow 1: Google's and bert4keras'."""

import contextlib
import os
import pathlib
import shutil
import tempfile

from su_models.backend.selection import runs_on
from su_models.checkpoints.base import Checkpoint

INDEX_END = bytes.fromhex("57fb808b247547db")  # the last bytes of an index


class TF1Checkpoint(Checkpoint):
    """Tensors of `<prefix>.index` and `<prefix>.data-00000-of-00001`.

    Optimizer slots and counters are tensors like others. TensorFlow reads
    them, without a graph or a session.

    Args:
        prefix: str or `pathlib.Path`, without `.index`.

    Raises:
        ValueError: if the index is damaged, or there are no data.
    """

    format = "tf1"

    def __init__(self, prefix):
        import tensorflow as tf

        prefix = str(prefix)
        try:
            with _tensorflow_errors():
                self._reader = tf.train.load_checkpoint(prefix)
                shapes = self._reader.get_variable_to_shape_map()
                dtypes = self._reader.get_variable_to_dtype_map()
        except ValueError as error:
            raise ValueError(
                f"Not a whole index of a checkpoint ({error}). "
                f"Received: path={prefix}"
            ) from error
        super().__init__(
            prefix,
            {
                name: (tuple(shapes[name]), dtypes[name].name)
                for name in sorted(shapes)
            },
        )

    def check_data(self):
        """Rejects an index whose data are missing.

        Raises:
            ValueError: if there is no `<prefix>.data-...` file.
        """
        folder, name = os.path.split(self.path)
        beside = os.listdir(folder or ".")
        if not any(file.startswith(f"{name}.data-") for file in beside):
            raise ValueError(
                "A checkpoint must have its data beside its index. "
                f"Received: path={self.path} without {name}.data-*"
            )

    def _read(self, name):
        self.check_data()
        with _tensorflow_errors():
            return self._reader.get_tensor(name)


def write_tf1(prefix, tensors):
    """Writes tensors as a checkpoint of TensorFlow 1, without a session.

    Args:
        prefix: str or `pathlib.Path`, without `.index`. A checkpoint that is
            there is replaced once the new files are whole: its index goes
            first, and the new one comes last. If the process is killed
            between the two, there is no checkpoint, but never the index of
            one over the data of another.
        tensors: dict from names to functions that return an array.

    Raises:
        OSError: if the files cannot be written.
    """
    import tensorflow as tf

    if not runs_on("tensorflow"):
        # TensorFlow would take all memory of a GPU that another backend uses
        with contextlib.suppress(RuntimeError):  # it has begun to
            tf.config.set_visible_devices([], "GPU")
    prefix = pathlib.Path(prefix)
    folder = tempfile.mkdtemp(prefix="new-", dir=prefix.parent)
    try:
        new = pathlib.Path(folder) / prefix.name
        with tf.device("CPU"):
            try:
                tf.raw_ops.SaveV2(
                    prefix=str(new),
                    tensor_names=list(tensors),
                    shape_and_slices=[""] * len(tensors),
                    tensors=[tf.constant(read()) for read in tensors.values()],
                )
            except tf.errors.OpError as error:
                raise OSError(f"{error.message}: {prefix}") from error
        _replace(new, prefix)
    finally:
        shutil.rmtree(folder)


def _replace(new, prefix):
    """Moves the files of a checkpoint to where another may be."""
    index = prefix.with_name(f"{prefix.name}.index")
    aside = new.with_name("aside")
    # the index is what a reader looks for
    *data, last = sorted(os.listdir(new.parent))
    if index.exists():
        os.replace(index, aside)
    try:
        for name in data:
            os.replace(new.with_name(name), prefix.with_name(name))
    except OSError:
        if aside.exists():
            os.replace(aside, index)
        raise
    os.replace(new.with_name(last), index)


@contextlib.contextmanager
def _tensorflow_errors():
    """Raises what TensorFlow says of damaged files as ValueError."""
    import tensorflow as tf

    try:
        yield
    except (tf.errors.OpError, IndexError, RuntimeError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise ValueError(lines[0]) from error
