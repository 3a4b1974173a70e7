"""The folder of a run: its files and its lock."""

import contextlib
import io
import json
import pathlib
import zipfile

import keras

from su_models.utils.files import leftovers, locked, sweep, write_bytes

# version 0.1 had only one task, and its config.json did not name it
FIRST_TASK = "image-diffusion"
COMMON = {"steps", "batch_size", "seed"}  # settings of every task


class RunFolder:
    """The files of one run of any task.

    * `config.json`: the task's name and its settings, for people and for the
      commands that are used after training.
    * `history.csv`: the history of the training.
    * `backup.bin`: the state of an unfinished training.
    * `model.keras`: the trained model.
    * `metrics.json`: the metrics of an evaluation.
    * pictures.

    Every file is complete or absent, even if a process is killed. Backup and
    model also contain the settings, so that they are known without
    `config.json`. A lock of the operating system ensures that only one process
    at a time writes in a folder.

    Args:
        path: the folder, a string or `pathlib.Path`. It need not exist.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.config = self.path / "config.json"
        self.history = self.path / "history.csv"
        self.backup = self.path / "backup.bin"
        self.model = self.path / "model.keras"
        self.lock = self.path / ".lock"
        self._is_held = False

    @property
    def is_done(self):
        """Whether the training is finished."""
        return self.model.exists()

    @contextlib.contextmanager
    def held(self, timeout=0.0):
        """Creates the folder and locks it against other writers.

        Args:
            timeout: seconds to wait for another writer.

        Raises:
            BlockingIOError: if another process is writing in the folder.
            OSError: if the folder cannot be created or written.
        """
        if self._is_held:
            yield
            return
        self.path.mkdir(parents=True, exist_ok=True)
        with locked(self.lock, f"folder={self.path}", timeout):
            self._is_held = True
            try:
                yield
            finally:
                self._is_held = False

    @contextlib.contextmanager
    def claimed(self, settings):
        """Locks the folder for the training of a run.

        Removes leftovers of killed processes, and writes `config.json`.

        Args:
            settings: JSON-serializable dict, including the task's name.

        Raises:
            ValueError: if the folder holds a run with other settings, or a
                foreign `config.json`.
            BlockingIOError, OSError: as in `held`.
        """
        with self.held():
            sweep(self.path)
            self.check(settings)
            if not self.config.exists() or self.settings() != settings:
                self.write_json("config.json", settings)
            yield

    def check(self, settings):
        """Rejects settings that differ from those of the run in the folder.

        A `config.json` without any other file of a run does not count.

        Raises:
            ValueError: as in `claimed`.
        """
        files = (self.model, self.backup, self.history)
        begun = any(path.exists() for path in files)
        found = []
        if self.config.exists():
            found.append(self.settings())
        if self.is_done:
            found.append(self._settings_of_model())
            if found == [None]:
                raise ValueError(
                    "The folder holds a model, but no config.json that says "
                    "to which run it belongs; delete it or choose another. "
                    f"Received: folder={self.path}"
                )
        if not begun and found and not COMMON <= found[0].keys():
            raise ValueError(
                "The folder has a config.json that does not belong to a run; "
                f"choose another folder. Received: folder={self.path}"
            )
        if begun and any(other not in (None, settings) for other in found):
            raise ValueError(
                "The folder holds a run with other settings; delete it or "
                f"choose another. Received: folder={self.path}"
            )

    def settings(self):
        """Returns the settings in `config.json`, a dict.

        Raises:
            ValueError: if the folder is not a run, or the file is damaged.
        """
        try:
            settings = json.loads(self.config.read_text("utf-8"))
            return {"task": FIRST_TASK, **settings}
        except (FileNotFoundError, NotADirectoryError):
            raise ValueError(
                "The folder is not a run: it has no config.json. "
                f"Received: folder={self.path}"
            ) from None
        except (ValueError, TypeError) as error:
            raise ValueError(
                "The settings of the run cannot be read. Received: "
                f"{self.config} ({error})"
            ) from error

    def write(self, name, data):
        """Writes a file of the run.

        Args:
            name: its name.
            data: bytes.

        Raises:
            OSError: if it cannot be written, or another process holds the
                lock for a minute.
        """
        with self.held(timeout=60.0):
            write_bytes(self.path / name, data)

    def write_json(self, name, value):
        """Writes a value as indented JSON."""
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        self.write(name, text.encode())

    def finish(self, model, settings):
        """Writes the trained model, and removes the backup."""
        file = _KerasFile()
        keras.saving.save_model(model, file)
        with zipfile.ZipFile(file, "a") as archive:
            archive.comment = json.dumps(settings).encode()
        self.write("model.keras", file.getvalue())
        self.tidy()

    def tidy(self):
        """Removes unneeded files of a finished run and leftovers.

        Restores `config.json` if it was lost. Has no effect while another
        process writes in the folder.
        """
        needless = [self.backup, self.path / "backup.weights.h5"]  # of 0.1
        needless = [path for path in needless if path.exists()]
        if (
            self.config.exists()
            and not needless
            and not leftovers(self.path)
            and not self.lock.exists()
        ):
            return
        with contextlib.suppress(OSError), self.held():
            sweep(self.path)
            for path in needless:
                path.unlink(missing_ok=True)
            if not self.config.exists():
                self.write_json("config.json", self._settings_of_model())

    def load_model(self):
        """Returns the trained model.

        Raises:
            ValueError: if the file does not exist or is damaged.
        """
        if not self.is_done:
            raise ValueError(
                "The run has no trained model yet; train it first. "
                f"Received: {self.model}"
            )
        self._settings_of_model()  # every byte is checked
        try:
            return keras.saving.load_model(self.model, compile=False)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(error) from error

    def _settings_of_model(self):
        """Returns the settings in `model.keras`, or None if it has none."""
        try:
            with zipfile.ZipFile(self.model) as archive:
                bad = archive.testzip()
                if bad:
                    raise ValueError(f"{bad} is not what was written")
                comment = archive.comment
                return json.loads(comment) if comment else None
        except Exception as error:  # zipfile raises many types
            raise self._damaged(error) from error

    def _damaged(self, error):
        return ValueError(
            "The file is not a Keras model or is damaged. "
            f"Received: {self.model} ({error})"
        )


class _KerasFile(io.BytesIO):
    """A file in memory that `keras.saving.save_model` accepts as a path.

    HDF5 crashes with a segmentation fault when it closes a file on a full
    disk, so the whole model is written to memory first.
    """

    def __str__(self):
        return "model.keras"
