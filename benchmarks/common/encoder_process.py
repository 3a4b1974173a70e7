"""An encoder of a peer in a process of its own, for `benchmarks/encoder.py`."""


class EncoderProcess:
    """Controls such a process, in which a module serves the same methods.

    Args:
        name: str, for tables.
        forms: names of the ways in which the encoder can be run.
        process: a `PeerProcess`.
        model: name of the family.
        folder: folder with `config.json`, `encoder.ckpt`,
            `model.safetensors`, and `head.npz`, the weights of the classifier.
        learning_rate: float, of Adam.
    """

    def __init__(self, name, forms, process, model, folder, learning_rate):
        self.name, self.forms, self._process = name, forms, process
        process.ask(
            "build",
            model=model,
            folder=str(folder),
            learning_rate=learning_rate,
        )

    def prepare(self, path):
        """Reads a batch, an `.npz` file of ids, segments and labels.

        The weights become the initial ones.
        """
        self._process.ask("prepare", path=str(path))

    def hidden(self, form, path):
        """Writes the hidden states to an `.npy` file."""
        self._process.ask("hidden", form=form, path=str(path))

    def losses(self, form, steps):
        """Trains from the initial weights; returns the loss of each step."""
        return self._process.ask("losses", form=form, steps=steps)

    def forward(self, form):
        """Runs a forward pass."""
        self._process.ask("forward", form=form)

    def step(self, form):
        """Takes a training step."""
        self._process.ask("step", form=form)

    def close(self):
        """Ends the process."""
        self._process.close()
