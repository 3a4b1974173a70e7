"""Mixins that turn an encoder into a language model by a mask."""

from su_models.layers.attention.causal_mask import CausalMask
from su_models.layers.attention.prefix_mask import PrefixMask


class LMMask:
    """A mixin with a causal mask.

    Article: https://kexue.fm/archives/6933
        《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》
    """

    def compute_attention_bias(self, inputs=None):
        if self.attention_bias is None:
            self.attention_bias = self.apply(
                self.inputs[0], CausalMask, name="Attention-LM-Mask"
            )
        return self.attention_bias


class UniLMMask:
    """A mixin with a mask that is causal in segment 1 only.

    Article: https://kexue.fm/archives/6933
        《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》
    Paper: https://arxiv.org/abs/1905.03197
    """

    def compute_attention_bias(self, inputs=None):
        if self.attention_bias is None:
            if len(self.inputs) < 2:
                raise ValueError(
                    "The application unilm needs segment ids, but "
                    f"{type(self).__name__} does not have them. "
                    "Received: application='unilm'"
                )
            self.attention_bias = self.apply(
                self.inputs[1], PrefixMask, name="Attention-UniLM-Mask"
            )
        return self.attention_bias


def extend_with_language_model(base):
    """Returns a subclass that is a causal language model.

    Args:
        base: a subclass of `Transformer`.
    """
    return _with_head(LMMask, base)


def extend_with_unified_language_model(base):
    """Returns a subclass that is a UniLM, causal after a prefix.

    Args:
        base: a subclass of `Transformer`.
    """
    return _with_head(UniLMMask, base)


def _with_head(mask, base):
    def __init__(self, **kwargs):
        base.__init__(self, **kwargs)
        self.with_mlm = getattr(self, "with_mlm", None) or True

    name = f"{base.__name__}With{mask.__name__}"
    bases = (base,) if issubclass(base, mask) else (mask, base)  # GPT has it
    return type(name, bases, {"__init__": __init__})
