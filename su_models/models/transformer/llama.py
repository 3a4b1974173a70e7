"""LLaMA: pre-norm blocks with rotary positions and gated networks."""

from su_models.models.transformer.gpt2 import GPT2
from su_models.models.transformer.roformer import RoFormer
from su_models.utils.checks import check_flag, check_positive, check_size


class LLaMA(GPT2):
    """A causal language model with grouped queries, SwiGLU and RMSNorm.

    Article: https://kexue.fm/archives/10091
        《缓存与效果的极限拉扯：从MHA、MQA、GQA到MLA》
    Paper: https://arxiv.org/abs/2302.13971

    Adjacent features are rotated, as in the original and in llama2.c;
    `checkpoints` permutes the kernels of Hugging Face, which rotate halves.
    Id 0 is an ordinary token: the causal mask is the only mask.

    Args:
        num_key_value_heads: optional int. Heads of keys and values, which
            divides `num_attention_heads`. Defaults to `num_attention_heads`.
        rotary_base: float > 0. Base of the rotation's frequencies.
        tie_word_embeddings: bool. Whether the token embedding computes the
            scores of the next token.
        final_activation: activation of these scores.
        **kwargs: arguments of `BERT`. `hidden_act` is a list, `["silu",
            "linear"]`.
    """

    epsilon = 1e-5
    use_bias = False
    norm_arguments = {"zero_mean": False, "offset": False}
    position_argument = "positions"
    compute_position_bias = RoFormer.compute_position_bias

    def __init__(
        self,
        hidden_act=("silu", "linear"),
        num_key_value_heads=None,
        rotary_base=10000.0,
        tie_word_embeddings=True,
        final_activation="softmax",
        **kwargs,
    ):
        super().__init__(
            hidden_act=list(hidden_act)
            if isinstance(hidden_act, (list, tuple))
            else [hidden_act, "linear"],
            final_activation=final_activation,
            **kwargs,
        )
        self.num_key_value_heads = check_size(
            "num_key_value_heads", num_key_value_heads, optional=True
        )
        self.rotary_base = check_positive("rotary_base", rotary_base)
        self.tie_word_embeddings = check_flag(
            "tie_word_embeddings", tie_word_embeddings
        )

    def tokens(self, ids):
        return self.embedding(ids, "Embedding-Token", self.vocab_size)

    def positions(self, x):
        return x  # positions enter in the attention

    def attention_options(self):
        heads = self.num_key_value_heads
        return {**super().attention_options(), "num_key_value_heads": heads}

    def apply_final_layers(self, inputs):
        if self.tie_word_embeddings:
            return super().apply_final_layers(inputs)
        x = self.dropout(self.norm(inputs, "Output-Norm"), "Output-Dropout")
        x = self.dense(x, self.vocab_size, "LM-Dense")
        return self.activation(x, self.final_activation, "LM-Activation")
