"""Models that generate, and their scores without a cache."""

import keras
import numpy as np

from tests.models.transformer.tiny import tiny

LM, UNILM = {"application": "lm"}, {"application": "unilm"}
GATED = {"hidden_act": ["gelu", "linear"]}
# every family with every application that it has, and options that matter
ROWS = {
    "bert-lm": ("bert", LM),
    "bert-unilm": ("bert", UNILM),
    "bert-pooled": ("bert", {**UNILM, "with_pool": True}),
    "bert-positions": ("bert", {**LM, "custom_position_ids": True}),
    "bert-hierarchical": (
        "bert",
        {**UNILM, "max_position": 4, "hierarchical_position": True},
    ),
    "bert-residual": ("bert", {**UNILM, "residual_attention_scores": True}),
    "albert-lm": ("albert", LM),
    "albert-unilm": ("albert", UNILM),
    "albert_unshared-lm": ("albert_unshared", LM),
    "nezha-lm": ("nezha", LM),
    "nezha-unilm": ("nezha", UNILM),
    "nezha-residual": (
        "nezha",
        {**LM, "residual_attention_scores": "accumulated"},
    ),
    "roformer-lm": ("roformer", LM),
    "roformer-unilm": ("roformer", UNILM),
    "roformer-positions": ("roformer", {**UNILM, "custom_position_ids": True}),
    "roformer_v2-lm": ("roformer_v2", LM),
    "roformer_v2-unilm": ("roformer_v2", {**UNILM, "embedding_size": 8}),
    "gau_alpha-lm": ("gau_alpha", LM),
    "gau_alpha-unilm": ("gau_alpha", UNILM),
    "gpt": ("gpt", {}),
    "gpt-lm": ("gpt", LM),
    "gpt-unilm": ("gpt", UNILM),
    "gpt2": ("gpt2", {}),
    "gpt2_ml": ("gpt2_ml", {}),
    "llama": ("llama", {"num_key_value_heads": 1, "hidden_act": "silu"}),
    "llama-untied": ("llama", {"tie_word_embeddings": False}),
    "t5.1.0": ("t5.1.0", {"hidden_act": "relu"}),
    "t5.1.1": ("t5.1.1", GATED),
    "mt5.1.1": ("mt5.1.1", {**GATED, "cross_position_bias": False}),
}
PROMPTS = [[3, 9, 4, 22, 7], [8, 1], [5, 30, 2, 17]]
LENGTH = 16


def build(row, **kwargs):
    name, options = ROWS[row]
    return tiny(name, **{"max_position": 32, **options, **kwargs})


def with_logits(row):
    """Builds the model without its last softmax."""
    name, options = ROWS[row]
    head = "with_mlm" if "application" in options else "final_activation"
    head = "with_lm" if "t5" in name else head
    if name.startswith(("gpt", "llama")):
        head = "final_activation"
    return build(row, **{head: "linear"})


def is_unilm(row):
    return ROWS[row][1].get("application") == "unilm"


def scorer(model, prompt, unilm=False, start_id=0, length=LENGTH):
    """Returns the logits after a prompt and some tokens, a function of these.

    Each call computes the whole sequence anew. It is padded on the right, so
    that the model has one shape: what follows a token does not change it.
    """
    return _Scorer(model, prompt, unilm, start_id, length)


class _Scorer:
    def __init__(self, *arguments):
        self.arguments = arguments
        self.known = {}

    def __call__(self, tokens):
        key = tuple(tokens)
        if key not in self.known:
            model, prompt, unilm, start_id, length = self.arguments
            self.known[key] = _logits(
                model, prompt, unilm, start_id, key, length
            )
        return self.known[key]


def _logits(model, prompt, unilm, start_id, tokens, length):
    names = [x.name for x in model.inputs]
    if any("Encoder" in name for name in names):
        target = [start_id, *tokens]
        inputs = [_padded(prompt, length), _padded(target, length)]
    else:
        target = [*prompt, *tokens]
        new = [0] * len(prompt) + [1 if unilm else 0] * len(tokens)
        values = {
            "Input-Token": _padded(target, length),
            "Input-Segment": _padded(new, length),
            "Input-Position": np.arange(length, dtype="int32")[None],
        }
        inputs = [values[name] for name in names]
    y = model.predict_on_batch(inputs if len(inputs) > 1 else inputs[0])
    if isinstance(y, list):  # the pooled vector comes first
        y = y[-1]
    y = np.asarray(y[0, len(target) - 1], "float64")
    probabilities = abs(y.sum() - 1) < 1e-3 and (y >= 0).all()
    return np.log(np.maximum(y, 1e-37)) if probabilities else y


def _padded(ids, length):
    return np.array([[*ids, *[0] * (length - len(ids))]], "int32")


def restored(model, folder):
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")
