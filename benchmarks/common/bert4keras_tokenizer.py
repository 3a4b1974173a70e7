"""bert4keras' tokenizer in a separate process and environment.

The interpreter named by SU_MODELS_LEGACY_PYTHON runs this file: bert4keras
needs Keras 2. It reads one JSON line with the path of a vocabulary,
`do_lower_case` and texts, and writes their ids. Then, for each further line, it
encodes the texts once and writes an empty line.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys

VARIABLE = "SU_MODELS_LEGACY_PYTHON"


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
        python = os.environ.get(VARIABLE)
        if not python:
            raise SystemExit(
                f"{VARIABLE} must name an interpreter with bert4keras "
                "(`make parity` prepares one). Received: none"
            )
        self._process = subprocess.Popen(
            [python, str(pathlib.Path(__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "TF_KERAS": "1",
                "TF_USE_LEGACY_KERAS": "1",
                "TF_CPP_MIN_LOG_LEVEL": "3",
            },
        )
        request = {
            "vocabulary": str(vocabulary),
            "lower": lower,
            "texts": texts,
        }
        self.ids = json.loads(self._ask(json.dumps(request)))

    def encode(self):
        """Encodes all texts once, and returns afterwards."""
        self._ask("")

    def close(self):
        """Ends the process."""
        with self._process:  # closes the pipes and waits
            pass

    def _ask(self, line):
        answer = ""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("The process of bert4keras has ended.")
        return answer


def serve():
    """Serves requests from standard input until it ends."""
    from bert4keras.tokenizers import Tokenizer

    request = json.loads(sys.stdin.readline())
    tokenizer = Tokenizer(request["vocabulary"], do_lower_case=request["lower"])
    texts = request["texts"]
    ids = [tokenizer.encode(text)[0] for text in texts]
    print(json.dumps(ids), flush=True)
    for _ in sys.stdin:
        for text in texts:
            tokenizer.encode(text)
        print(flush=True)


if __name__ == "__main__":
    serve()
