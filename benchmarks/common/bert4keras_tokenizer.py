"""bert4keras' tokenizer in a separate process and environment.

The interpreter named by SU_MODELS_LEGACY_PYTHON runs this file as a module:
bert4keras needs Keras 2.
"""

from benchmarks.common.peer_process import (
    LEGACY,
    PeerProcess,
    legacy_python,
    serve,
)


class Bert4kerasTokenizer:
    """Controls that process: `encode()` makes it encode all texts.

    Args:
        vocabulary: path of the vocabulary.
        lower: bool, `do_lower_case`.
        texts: list of str.

    Attributes:
        ids: the ids of the texts.
    """

    def __init__(self, vocabulary, lower, texts):
        self._process = PeerProcess(legacy_python(), __name__, LEGACY)
        self.ids = self._process.ask(
            "prepare", vocabulary=str(vocabulary), lower=lower, texts=texts
        )

    def encode(self):
        """Encodes all texts once, and returns afterwards."""
        self._process.ask("encode")

    def close(self):
        """Ends the process."""
        self._process.close()


class _Served:
    """The tokenizer in that process."""

    def prepare(self, vocabulary, lower, texts):
        from bert4keras.tokenizers import Tokenizer

        self.tokenizer = Tokenizer(vocabulary, do_lower_case=lower)
        self.texts = texts
        return [self.tokenizer.encode(text)[0] for text in texts]

    def encode(self):
        for text in self.texts:
            self.tokenizer.encode(text)


if __name__ == "__main__":
    serve(_Served())
