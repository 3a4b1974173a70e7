"""Base of the tasks that train a UniLM of characters."""

import dataclasses

import keras
import numpy as np

from su_models.backend.compile import has_xla
from su_models.models.transformer.build import build_transformer_model
from su_models.models.transformer.scaled_truncated_normal import (
    ScaledTruncatedNormal,
)
from su_models.tasks.base import cosine_decay
from su_models.tasks.text import TOKENS, TextTask
from su_models.tasks.vocabulary_embedding import VocabularyEmbedding
from su_models.utils.checks import check_share, check_size


@dataclasses.dataclass(frozen=True, kw_only=True)
class CharacterUniLM(TextTask):
    """Base of tasks that train a small RoFormerV2 of characters as a UniLM.

    Article: https://kexue.fm/archives/6933
        《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》
    Paper: https://arxiv.org/abs/1905.03197

    A sequence is a prompt, in segment 0, and a text, in segment 1, which ends
    with [SEP]. The prompt sees itself from both sides; each token of the text
    sees the prompt and what is before it. The loss is the cross-entropy of the
    text and its end. The learning rate rises linearly over the first tenth of
    the steps (at most 500), then decays along a cosine to 2 %.

    A subclass defines `vocabulary`, `examples` and `prompts`. The vocabulary is
    in the config of the layer `"Embedding-Token"`, so the run is restored
    without the data.

    Args:
        hidden_size: int. Features of a character.
        num_hidden_layers: int. Number of blocks.
        num_attention_heads: int. Number of heads; `hidden_size` must be a
            multiple of twice this number.
        dropout: float in [0, 1). Dropout rate.
        min_count: int. Characters that are rarer in the training texts have
            no token.
        ema_momentum: float in [0, 1). Momentum of the averaged weights.
        steps, batch_size, steps_per_epoch, learning_rate, jit_compile, seed:
            see `Task`.
    """

    hidden_size: int = 256
    num_hidden_layers: int = 4
    num_attention_heads: int = 4
    dropout: float = 0.1
    min_count: int = 5
    ema_momentum: float = 0.99
    batch_size: int = 32
    steps_per_epoch: int = 100
    learning_rate: float = 2e-3

    def __post_init__(self):
        super().__post_init__()
        for name in (
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "min_count",
        ):
            self.keep(name, check_size(name, getattr(self, name)))
        for name in ("dropout", "ema_momentum"):
            self.keep(name, check_share(name, getattr(self, name)))
        if self.hidden_size % (2 * self.num_attention_heads):
            raise ValueError(
                "`hidden_size` must be a multiple of twice "
                "`num_attention_heads`. Received: "
                f"hidden_size={self.hidden_size}, "
                f"num_attention_heads={self.num_attention_heads}"
            )

    def vocabulary(self):
        """Returns the tokens of the model, a list of str."""
        raise NotImplementedError

    def build(self):
        """Returns the UniLM with its vocabulary."""
        tokens = self.vocabulary()
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
            name="unilm",
        )

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


def with_targets(ids, segments):
    """Returns `((ids, segments), targets)`, int32 `(n, length)` each.

    The target at a token is the next one if that is in segment 1, else 0.
    """
    following = np.where(segments == 1, ids, 0)[:, 1:]
    return (ids, segments), np.pad(following, [[0, 0], [0, 1]])
