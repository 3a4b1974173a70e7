"""Answers to questions about dialogues by a UniLM."""

import collections
import dataclasses
import json
import pathlib
from typing import ClassVar

import numpy as np

from su_models.models.decoding.endpoint import generate_endpoint
from su_models.models.transformer.build import build_transformer_model
from su_models.tasks.character_unilm import CharacterUniLM, with_targets
from su_models.tasks.dialogues import (
    load_dialogues,
    normalized,
    parted,
    vocabulary,
)
from su_models.tasks.text import BATCH_SIZE, tokenizer_of
from su_models.tasks.token_losses import token_losses
from su_models.text.pad_sequences import pad_sequences
from su_models.text.vocab import load_vocab
from su_models.utils.checks import check_flag, check_size

BEAMS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class DialogueAnswering(CharacterUniLM):
    """A UniLM that answers a question about a dialogue.

    Article: https://kexue.fm/archives/6933
        《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》
    Paper: https://arxiv.org/abs/1904.09679

    The data set C3 offers choices to each question; the model sees none of
    them and writes the answer. The sequence is

        [CLS] question [SEP] dialogue [SEP] answer [SEP]

    with segment 1 for the answer and its end. See `CharacterUniLM`.

    Args:
        prompt_length: int >= 8. Number of tokens of question and dialogue. The
            end of a longer dialogue is dropped; for training such rows are
            left out.
        answer_length: int. Number of tokens of an answer with its end. Rows
            with longer answers are left out of training.
        mixed: bool. Whether to train on the other texts of C3 too.
        encoder: str. Folder of a trained RoFormerV2 of the same sizes, with
            `bert_config.json`, `vocab.txt` and a checkpoint: `encoder.ckpt`, as
            `examples/roformer_v2_mlm.py` writes it, or `bert_model.ckpt`, as
            the published ones are named. Its weights are the initial ones, its
            vocabulary is taken. Empty for random weights.
        **settings: those of `CharacterUniLM`.

    Raises:
        ValueError: if a value is invalid, or the encoder has other sizes.
    """

    task_name: ClassVar[str] = "dialogue-answering"
    loss_label: ClassVar[str] = "loss: -log p of a token of the answer"
    generate_options: ClassVar[tuple[str, ...]] = (
        *CharacterUniLM.generate_options,
        "max_new_tokens",
    )

    hidden_size: int = 128
    dropout: float = 0.2
    min_count: int = 2
    prompt_length: int = 112
    answer_length: int = 16
    mixed: bool = True
    encoder: str = ""
    steps: int = 2000

    def __post_init__(self):
        super().__post_init__()
        for name in ("prompt_length", "answer_length"):
            self.keep(name, check_size(name, getattr(self, name)))
        if self.prompt_length < 8:
            raise ValueError(
                "`prompt_length` must be at least 8. "
                f"Received: prompt_length={self.prompt_length}"
            )
        self.keep("mixed", check_flag("mixed", self.mixed))
        if not isinstance(self.encoder, str):
            raise ValueError(
                "`encoder` must be the name of a folder, a string. "
                f"Received: encoder={self.encoder!r}"
            )

    # ---- training

    def rows(self, split="train"):
        """Returns the rows of a split, as `load_dialogues` does."""
        return load_dialogues(self.mixed)[split]

    def vocabulary(self):
        """Returns the tokens of the encoder, or of the training texts."""
        if self.encoder:
            known = load_vocab(pathlib.Path(self.encoder, "vocab.txt"))
            return sorted(known, key=known.get)
        return vocabulary(self.rows(), self.min_count)

    def build(self):
        """Returns the UniLM, with the encoder's weights if there is one."""
        model = super().build()
        if self.encoder:
            encoder = self._encoder()
            for layer in encoder.layers:
                if layer.weights:
                    weights = layer.get_weights()
                    model.get_layer(layer.name).set_weights(weights)
        return model

    def examples(self):
        """Returns the training rows: `((ids, segments), targets)`."""
        rows = self.rows()
        tokenizer = tokenizer_of(self.vocabulary())
        return self.encoded(tokenizer, [row[:3] for row in rows], fitting=True)

    def encoded(self, tokenizer, rows, fitting=False):
        """Returns dialogues, questions and answers as ids.

        Args:
            tokenizer: the `Tokenizer` of the model.
            rows: list of tuples of a dialogue, a question and an answer.
            fitting: bool. Whether rows that are too long are left out. If
                not, dialogues are cut, and so is the end of an answer.

        Returns:
            `((ids, segments), targets)`, int32 `(n, length)` each. The target
            at a token is the next one if that belongs to the answer, else 0.

        Raises:
            ValueError: if no row is left.
        """
        length = self.prompt_length + self.answer_length
        ids, segments = [], []
        for context, question, answer in rows:
            prompt, cut = self._prompt(tokenizer, context, question)
            made = tokenizer.encode(prompt, answer)
            whole = len(made[0]) - len(prompt) <= self.answer_length
            if not fitting or (whole and not cut):
                ids.append(made[0][:length])
                segments.append(made[1][:length])
        if not ids:
            raise ValueError(
                "No row fits into the model. Received: "
                f"prompt_length={self.prompt_length}, "
                f"answer_length={self.answer_length}"
            )
        return with_targets(_padded(ids, length), _padded(segments, length))

    def _prompt(self, tokenizer, context, question):
        """Returns the tokens of a prompt, and whether some were dropped."""
        head = tokenizer.tokenize(question)
        if len(head) > self.prompt_length // 2:
            head = [*head[: self.prompt_length // 2 - 1], tokenizer.token_end]
        body = tokenizer.tokenize(context)[1:]
        cut = len(head) + len(body) > self.prompt_length
        if cut:
            room = self.prompt_length - len(head) - 1
            body = [*body[:room], tokenizer.token_end]
        return [*head, *body], cut

    def _encoder(self):
        """Returns the trained encoder."""
        folder = pathlib.Path(self.encoder)
        path = folder / "bert_config.json"
        sizes = json.loads(path.read_text("utf-8"))
        wanted = {
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "intermediate_size": 4 * self.hidden_size,
            "hidden_act": "relu",
        }
        wanted["vocab_size"] = len(self.vocabulary())
        found = {name: sizes.get(name) for name in wanted}
        if found != wanted:
            raise ValueError(
                f"The encoder must have the sizes {wanted}. "
                f"Received: {path} with {found}"
            )
        own = (folder / "encoder.ckpt.index").exists()
        checkpoint = folder / ("encoder.ckpt" if own else "bert_model.ckpt")
        return build_transformer_model(path, checkpoint, model="roformer_v2")

    # ---- uses of the model

    def prompts(self, tokenizer, texts):
        """Returns the ids and segments of dialogues with their questions."""
        ids = [
            tokenizer.tokens_to_ids(self._prompt(tokenizer, *parted(text))[0])
            for text in texts
        ]
        ids = _padded(ids)
        return ids, np.zeros_like(ids)

    def generate(self, model, texts, *, max_new_tokens=None, **options):
        """Returns an answer to each question about a dialogue.

        The most probable token is taken in each step, unless `beam_size`,
        `top_p`, `top_k` or `temperature` is given.

        Args:
            model: the model of a run.
            texts: list of str: the lines of a dialogue and, as the last line,
                the question. Lines are separated by line feeds or by `|`.
            max_new_tokens: int from 1 to `answer_length`, which is the
                default. The greatest number of tokens of an answer.
            **options: see `TextTask.generate`.

        Returns:
            A list of str.

        Raises:
            ValueError: if a text has fewer than two lines, or an argument is
                not as described.
        """
        if max_new_tokens is None:
            max_new_tokens = self.answer_length
        if check_size("max_new_tokens", max_new_tokens) > self.answer_length:
            raise ValueError(
                "`max_new_tokens` must be at most the length of the answers "
                f"in training, {self.answer_length}. "
                f"Received: max_new_tokens={max_new_tokens}"
            )
        others = ("beam_size", "top_p", "top_k", "temperature")
        if all(options.get(name) is None for name in others):
            options["top_k"] = 1
        return super().generate(
            model, texts, max_new_tokens=max_new_tokens, **options
        )

    def sample(self, model, number, seed=0, progress=False):
        """Returns `number` held-out dialogues with answers, a list of str."""
        rows = self.rows("test")[: check_size("number", number)]
        texts = [f"{context}\n{question}" for context, question, *_ in rows]
        answers = self.generate(model, texts, seed=seed, progress=progress)
        return [f"{t}\n→ {a}" for t, a in zip(texts, answers, strict=True)]

    def evaluate(self, model, progress=False, number=None):
        """Returns metrics on the held-out dialogues.

        Args:
            model: the model of a run.
            progress: bool. Whether to show a progress bar.
            number: optional int. Number of questions; all by default.

        Returns:
            A dict of floats:

            * `"perplexity"` per token of the right answers and their ends;
            * `"exact_match"`, the share of answers that are the right ones to
              the letter, and `"exact_match_beams"` of beam search with 3
              beams;
            * `"character_f1"`, the mean F1 of the characters of the answers;
            * `"choice_accuracy"`: the share of questions whose right answer
              has the greatest mean log-probability of a token among the
              choices.
        """
        rows = self.rows("test")
        rows = rows[: check_size("number", number, optional=True)]
        texts = [f"{context}\n{question}" for context, question, *_ in rows]
        right = [answer for _, _, answer, _ in rows]
        answers = self.generate(model, texts, progress=progress)
        searched = self.generate(
            model, texts, beam_size=BEAMS, progress=progress
        )
        losses, counts = self._losses(model, [row[:3] for row in rows])
        ranks = self._choose(model, rows)
        return {
            "perplexity": float(np.exp(losses.sum() / counts.sum())),
            "exact_match": exact_match(answers, right),
            "exact_match_beams": exact_match(searched, right),
            "character_f1": character_f1(answers, right),
            "choice_accuracy": float(
                np.mean([a == b for a, b in zip(ranks, right, strict=True)])
            ),
        }

    def _losses(self, model, rows):
        """Returns the sum of the losses and the number of tokens of rows."""
        examples = self.encoded(self.tokenizer(model), rows)
        mask = examples[1] > 0
        losses = token_losses(model, examples, BATCH_SIZE)
        return np.where(mask, losses, 0).sum(axis=1), mask.sum(axis=1)

    def _choose(self, model, rows):
        """Returns the most probable choice for each row, a list of str."""
        every = [(c, q, x) for c, q, _, choices in rows for x in choices]
        losses, counts = self._losses(model, every)
        means, chosen = iter(losses / counts), []
        for *_, choices in rows:
            found = [next(means) for _ in choices]
            chosen.append(choices[int(np.argmin(found))])
        return chosen

    def endpoints(self, model, max_beam_size=BEAMS):
        """Returns the function to export with a model, by name.

        Args:
            model: the model of a run.
            max_beam_size: int. The greatest number of beams.

        Returns:
            A dict of `"generate"`: ids and segments of prompts, `beam_size`
            and `max_new_tokens` → ids of answers; see
            `su_models.models.generate_endpoint`.
        """
        return {
            "generate": generate_endpoint(
                model,
                max_new_tokens=self.answer_length,
                max_beam_size=max_beam_size,
                end_id=self.tokenizer(model).token_end_id,
            )
        }


def exact_match(answers, right):
    """Returns the share of answers that are the right ones, without spaces."""
    pairs = zip(answers, right, strict=True)
    return float(np.mean([_letters(a) == _letters(b) for a, b in pairs]))


def character_f1(answers, right):
    """Returns the mean F1 of the characters of answers, as multisets."""
    scores = []
    for answer, truth in zip(answers, right, strict=True):
        a, b = (collections.Counter(_letters(x)) for x in (answer, truth))
        common = (a & b).total()
        scores.append(2 * common / max(a.total() + b.total(), 1))
    return float(np.mean(scores))


def _letters(text):
    return "".join(normalized(text).split())


def _padded(rows, length=None):
    return pad_sequences(rows, length).astype("int32")


RUNS = {"dialogue-answer": DialogueAnswering()}
