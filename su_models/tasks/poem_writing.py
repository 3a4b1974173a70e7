"""Writing of quatrains by a UniLM."""

import dataclasses
import functools
import warnings
from typing import ClassVar

import keras
import numpy as np

from su_models.backend.compile import has_xla
from su_models.models.decoding.endpoint import generate_endpoint
from su_models.models.transformer.build import build_transformer_model
from su_models.models.transformer.scaled_truncated_normal import (
    ScaledTruncatedNormal,
)
from su_models.tasks.base import cosine_decay
from su_models.tasks.character_endpoints import (
    decode_endpoint,
    encode_endpoint,
)
from su_models.tasks.quatrain_form import (
    COMMA,
    END,
    LONGEST,
    STOP,
    QuatrainForm,
)
from su_models.tasks.quatrain_judge import perplexities, shares
from su_models.tasks.quatrains import load_quatrains, vocabulary
from su_models.tasks.text import (
    BATCH_SIZE,
    TOKENS,
    TextTask,
    tokenizer_of,
)
from su_models.tasks.vocabulary_embedding import VocabularyEmbedding
from su_models.text.rhymes import rhyme_numbers
from su_models.utils.checks import (
    check_flag,
    check_share,
    check_size,
)

TITLES = (  # of samples
    *("春晓", "秋夜", "送别", "山中", "江雪", "夏日", "登楼", "思乡"),
    *("梅花", "望月", "边塞", "渔父", "古寺", "寒食", "柳", "落花"),
    *("客中", "听雨", "题壁", "归雁"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoemWriting(TextTask):
    """A UniLM that writes a quatrain (绝句) of the Tang dynasty for a title.

    Article: https://kexue.fm/archives/6933
        《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》
    Paper: https://arxiv.org/abs/1905.03197

    The model is a small RoFormerV2 of characters. A sequence is the title, in
    segment 0, and the poem, in segment 1:

        [CLS] title [SEP] poem [SEP]

    The title sees itself from both sides; each character of the poem sees the
    title and what is before it. The loss is the cross-entropy of the poem and
    its end. The learning rate rises linearly over the first tenth of the
    steps (at most 500), then decays along a cosine to 2 %.

    The vocabulary is that of the training poems, in the config of the layer
    `"Embedding-Token"`. The run is restored without the data.

    Args:
        hidden_size: int. Features of a character.
        num_hidden_layers: int. Number of blocks.
        num_attention_heads: int. Number of heads, which divides
            `hidden_size`.
        dropout: float in [0, 1). Dropout rate.
        title_length: int. Longer titles are cut.
        min_count: int. Characters that are rarer in the training poems have
            no token.
        halves: bool. Whether to train on halves of poems of eight lines too.
        ema_momentum: float in [0, 1). Momentum of the averaged weights.
        steps, batch_size, steps_per_epoch, learning_rate, jit_compile, seed:
            see `Task`.
    """

    task_name: ClassVar[str] = "poem-writing"
    loss_label: ClassVar[str] = "loss: -log p of a character"
    generate_options: ClassVar[tuple[str, ...]] = (
        *TextTask.generate_options,
        "constrained",
        "line_length",
        "rhyme",
    )

    hidden_size: int = 256
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    dropout: float = 0.1
    title_length: int = 12
    min_count: int = 5
    halves: bool = True
    ema_momentum: float = 0.99
    steps: int = 5000
    batch_size: int = 32
    steps_per_epoch: int = 100
    learning_rate: float = 2e-3

    def __post_init__(self):
        super().__post_init__()
        for name in (
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "title_length",
            "min_count",
        ):
            self.keep(name, check_size(name, getattr(self, name)))
        for name in ("dropout", "ema_momentum"):
            self.keep(name, check_share(name, getattr(self, name)))
        self.keep("halves", check_flag("halves", self.halves))
        if self.hidden_size % (2 * self.num_attention_heads):
            raise ValueError(
                "`hidden_size` must be a multiple of twice "
                "`num_attention_heads`. Received: "
                f"hidden_size={self.hidden_size}, "
                f"num_attention_heads={self.num_attention_heads}"
            )

    # ---- training

    def pairs(self, split="train"):
        """Returns titles and poems of a split, a list of pairs."""
        return load_quatrains(self.halves)[split]

    def build(self):
        """Returns the UniLM, with the vocabulary of the training poems."""
        tokens = vocabulary(self.pairs(), self.min_count)
        embedding = VocabularyEmbedding(
            tokens,
            self.hidden_size,
            mask_zero=True,
            embeddings_initializer=ScaledTruncatedNormal(
                self.num_hidden_layers
            ),
            name=TOKENS,
        )
        return build_transformer_model(
            model="roformer_v2",
            application="unilm",
            with_mlm="linear",
            vocab_size=len(tokens),
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=4 * self.hidden_size,
            hidden_act="relu",
            dropout_rate=self.dropout,
            attention_dropout_rate=self.dropout,
            layers={TOKENS: embedding},
            name="poet",
        )

    def examples(self):
        """Returns the training poems: `((ids, segments), targets)`."""
        pairs = self.pairs()
        tokens = vocabulary(pairs, self.min_count)
        return self.encoded(tokenizer_of(tokens), pairs)

    def encoded(self, tokenizer, pairs):
        """Returns titles and poems as ids.

        Args:
            tokenizer: the `Tokenizer` of the model.
            pairs: list of pairs of a title and a poem.

        Returns:
            `((ids, segments), targets)`, int32 `(n, length)` each. The target
            at a token is the next one if that belongs to the poem, else 0.
        """
        titles, poems = zip(*pairs, strict=True)
        ids, segments = tokenizer.encode_batch(
            [title[: self.title_length] for title in titles],
            list(poems),
            length=2 + self.title_length + LONGEST,
        )
        following = np.where(segments == 1, ids, 0)[:, 1:]
        return (ids, segments), np.pad(following, [[0, 0], [0, 1]])

    def check_examples(self, examples, model):
        """Rejects ids that are not in the vocabulary of the model."""
        (ids, _), _ = examples
        size = len(model.get_layer(TOKENS).tokens)
        if ids.max() >= size:
            raise ValueError(
                f"The ids of the examples must be below {size}. "
                f"Received: ids up to {ids.max()}"
            )

    def trainer(self, model):
        """Returns a compiled model of the same layers."""
        trainer = keras.Model(model.inputs, model.output)
        rate = cosine_decay(self, min(500, self.steps // 10), alpha=0.02)
        trainer.compile(
            keras.optimizers.Adam(
                rate,
                global_clipnorm=1.0,
                use_ema=True,
                ema_momentum=self.ema_momentum,
            ),
            keras.losses.SparseCategoricalCrossentropy(
                from_logits=True, ignore_class=0
            ),
            jit_compile=self.jit_compile and has_xla(),
        )
        return trainer

    # ---- uses of the model

    def prompts(self, tokenizer, texts):
        """Returns the ids and segments of titles."""
        return tokenizer.encode_batch([t[: self.title_length] for t in texts])

    def generate(
        self,
        model,
        texts,
        *,
        constrained=True,
        line_length=None,
        rhyme=None,
        **options,
    ):
        """Returns a quatrain for each title.

        Args:
            model: the model of a run.
            texts: list of str, the titles. Characters that are not in the
                vocabulary are read as [UNK].
            constrained: bool. Whether only tokens that keep the form are
                written: the lengths of the lines, and the rhyme of the second
                and the fourth line.
            line_length: 5 or 7, or None for either.
            rhyme: bool. Whether the form includes the rhyme, which needs the
                package `pypinyin`. If None, it does if that is installed;
                otherwise, a warning says so.
            **options: `seed`, `top_p`, `top_k`, `temperature`, `beam_size`,
                `stream` and `progress`; see `TextTask.generate`.

        Returns:
            A list of str without line feeds.

        Raises:
            ValueError: if an argument is not as described.
            ImportError: if `rhyme` is True without `pypinyin`.
        """
        form = None
        if check_flag("constrained", constrained):
            form = self.form(model, line_length, rhyme)
        elif line_length is not None or rhyme is not None:
            raise ValueError(
                "Only constrained poems have a `line_length` and a `rhyme`. "
                f"Received: constrained=False, line_length={line_length!r}, "
                f"rhyme={rhyme!r}"
            )
        return super().generate(
            model,
            texts,
            max_new_tokens=LONGEST,
            allowed_tokens=form,
            **options,
        )

    def form(self, model, line_length=None, rhyme=None):
        """Returns the `QuatrainForm` for the vocabulary of a model.

        Args:
            model: the model of a run.
            line_length, rhyme: see `generate`.
        """
        if rhyme is not None:
            check_flag("rhyme", rhyme)
        tokens, numbers = tuple(model.get_layer(TOKENS).tokens), None
        try:
            if rhyme is not False:
                numbers = _numbers_of(tokens)
        except ImportError as error:
            if rhyme:
                raise
            warnings.warn(f"The poems do not rhyme. {error}", stacklevel=3)
        return QuatrainForm(tokens, line_length, numbers)

    def sample(self, model, number, seed=0, progress=False):
        """Returns `number` poems with their titles, a list of str."""
        count = check_size("number", number)
        titles = [TITLES[i % len(TITLES)] for i in range(count)]
        poems = self.generate(model, titles, seed=seed, progress=progress)
        return [f"《{t}》{p}" for t, p in zip(titles, poems, strict=True)]

    def evaluate(self, model, progress=False, number=200):
        """Returns the perplexity of held-out poems, and the shares of form.

        Args:
            model: the model of a run.
            progress: bool. Whether to show a progress bar.
            number: int. Number of held-out titles for which poems are
                written, with seed 0, with and without the constraint.

        Returns:
            A dict of floats:

            * `"perplexity"` per token of the poems, including the marks and
              the end; `"character_perplexity"` without these;
            * `"form_share"` of the poems, the share with lines of the right
              lengths, and `"..._unconstrained"`;
            * `"rhyme_share"`, the share that also rhymes, `"..._unconstrained"`
              and `"..._of_real"`; only if `pypinyin` is installed;
            * `"copied_line_share"`, the share of the lines of the constrained
              poems that are in the training poems, and `"..._of_real"`.
        """
        pairs, form = self.pairs("test"), self.form(model)
        titles = [title for title, _ in pairs[: check_size("number", number)]]
        free = {"seed": 0, "progress": progress, "constrained": False}
        poems = {
            "": self.generate(
                model,
                titles,
                seed=0,
                progress=progress,
                rhyme=form.rhymes is not None,
            ),
            "_unconstrained": self.generate(model, titles, **free),
            "_of_real": [poem for _, poem in pairs],
        }
        tokenizer = self.tokenizer(model)
        numbers = None
        if form.rhymes is not None:
            numbers = dict(zip(form.tokens, form.rhymes, strict=True))
        return {
            **perplexities(
                model,
                self.encoded(tokenizer, pairs),
                tokenizer.tokens_to_ids([COMMA, STOP, END]),
                BATCH_SIZE,
            ),
            **shares(poems, [poem for _, poem in self.pairs()], numbers),
        }

    def endpoints(self, model, max_beam_size=3):
        """Returns functions to export with a model, by name.

        Args:
            model: the model of a run.
            max_beam_size: int. The greatest number of beams.

        Returns:
            A dict of three functions of int32 tensors:

            * `"encode"`: code points of titles, `(batch, n)`, 0 at the end of
              a row → ids;
            * `"generate"`: ids, segments (all 0), `beam_size` and
              `max_new_tokens` (33 for a whole poem) → ids `(batch, 33)`; see
              `su_models.models.generate_endpoint`;
            * `"decode"`: ids → code points, 0 for what is no character.
        """
        tokenizer = self.tokenizer(model)
        generate = generate_endpoint(
            model,
            max_new_tokens=LONGEST,
            max_beam_size=max_beam_size,
            end_id=tokenizer.token_end_id,
            allowed_tokens=self.form(model),
        )
        return {
            "encode": encode_endpoint(tokenizer, self.title_length),
            "generate": generate,
            "decode": decode_endpoint(tokenizer),
        }


@functools.lru_cache(maxsize=4)
def _numbers_of(tokens):
    """Returns the rhymes of a vocabulary, a tuple of integers."""
    return tuple(rhyme_numbers(t if len(t) == 1 else "" for t in tokens))


RUNS = {"poem-unilm": PoemWriting()}
