"""Base of the tasks that write text."""

import dataclasses
import os
from typing import ClassVar

from su_models.models.decoding.generate import generate
from su_models.tasks.base import Task
from su_models.text.base import check_texts
from su_models.text.tokenizer import Tokenizer
from su_models.utils.checks import check_integer, check_size

BATCH_SIZE = 64  # number of texts that are written at once
TOKENS = "Embedding-Token"  # name of the layer that has the vocabulary
TOP_P = 0.9


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextTask(Task):
    """Base of tasks whose models continue a prompt with text.

    The layer `"Embedding-Token"` of the model is a `VocabularyEmbedding`. A
    subclass defines `prompts`, and `generate` if it has further options.
    """

    sample_endings: ClassVar[tuple[str, ...]] = (".txt",)
    generate_options: ClassVar[tuple[str, ...]] = (
        "seed",
        "top_p",
        "top_k",
        "temperature",
        "beam_size",
    )

    def prompts(self, tokenizer, texts):
        """Returns the ids and segments of prompts, int32 `(n, length)`."""
        raise NotImplementedError

    def tokenizer(self, model):
        """Returns the `Tokenizer` with the vocabulary of a model."""
        return tokenizer_of(model.get_layer(TOKENS).tokens)

    def generate(
        self,
        model,
        texts,
        *,
        max_new_tokens,
        seed=0,
        top_p=None,
        top_k=None,
        temperature=1.0,
        beam_size=1,
        allowed_tokens=None,
        stream=None,
        progress=False,
    ):
        """Returns the text that the model writes for each prompt.

        Args:
            model: the model of a run.
            texts: list of str, the prompts. Characters that are not in the
                vocabulary are read as [UNK].
            max_new_tokens: int > 0. The greatest number of tokens of a text.
            seed: int from 0 to 2³¹ - 1. A text depends on the seed and on the
                position of its prompt.
            top_p, top_k, temperature, beam_size, allowed_tokens: see
                `su_models.models.generate`. The default is to sample with a
                `top_p` of 0.9.
            stream: optional function that is called after each token, and
                at the end, with the new characters of each text, a list of
                str. Not for beam search.
            progress: bool, or a function of the numbers of finished and of
                all texts.

        Returns:
            A list of str.

        Raises:
            ValueError: if a prompt has no characters, or an argument is not
                as described.
        """
        texts = list(check_texts("texts", texts))
        if not texts or not all(text.strip() for text in texts):
            raise ValueError(
                "`texts` must not be empty, nor contain an empty one. "
                f"Received: texts={texts!r}"
            )
        beam_size = check_size("beam_size", beam_size)
        if beam_size == 1 and top_k is None and top_p is None:
            top_p = TOP_P
        tokenizer = self.tokenizer(model)
        ids, segments = self.prompts(tokenizer, texts)
        pieces = None
        if stream is not None:
            pieces = _Pieces(tokenizer, len(texts), stream)
        made = generate(
            model,
            ids,
            segments,
            max_new_tokens=max_new_tokens,
            beam_size=beam_size,
            top_k=top_k,
            top_p=top_p,
            temperature=temperature,
            end_id=tokenizer.token_end_id,
            seed=check_integer("seed", seed, least=0),
            allowed_tokens=allowed_tokens,
            batch_size=BATCH_SIZE if stream is None else None,
            stream=pieces,
            progress=progress,
        )
        texts = [tokenizer.decode(row) for row in made.tolist()]
        if pieces is not None:
            pieces.end(texts)
        return texts


def tokenizer_of(tokens):
    """Returns the `Tokenizer` of a vocabulary, a list of tokens."""
    return Tokenizer({token: i for i, token in enumerate(tokens)})


class _Pieces:
    """Sends what each new token adds to the texts.

    A character is sent as soon as no further token can change it: the space in
    "' s" is removed if another word follows.

    Args:
        tokenizer: the `Tokenizer` of the model.
        count: int. Number of texts.
        send: function of a list of str.
    """

    def __init__(self, tokenizer, count, send):
        self.tokenizer, self.send = tokenizer, send
        self.tokens = [[] for _ in range(count)]
        self.sent = [0] * count  # numbers of characters

    def __call__(self, step, ids):
        texts = []
        for tokens, i in zip(self.tokens, ids.tolist(), strict=True):
            tokens.append(self.tokenizer.id_to_token(i))
            both = (self._text(tokens), self._text([*tokens, "a"]))
            texts.append(os.path.commonprefix(both))
        self._send(texts)

    def end(self, texts):
        """Sends the rest of the final texts."""
        if any(n < len(x) for n, x in zip(self.sent, texts, strict=True)):
            self._send(texts)

    def _send(self, texts):
        pairs = [*zip(self.sent, texts, strict=True)]
        self.sent = [max(n, len(text)) for n, text in pairs]
        self.send([text[n:] for n, text in pairs])

    def _text(self, tokens):
        return self.tokenizer.decode(None, tokens)
