"""Generation equals that of `transformers`, on the same weights.

Article: https://kexue.fm/archives/6933
"""

import numpy as np
import pytest

from su_models.models import build_transformer_model, generate

pytestmark = pytest.mark.parity
PROMPTS = [[3, 9, 4, 22, 7, 40], [8, 1], [5, 30, 2, 17]]
NEW = 12
# more would multiply the rounding errors of T5 1.1, which does not scale the
# scores of its attention
NOISE = {"gpt2": 0.25, "t5.1.0": 0.25, "t5.1.1": 0.1}
SEARCHES = {
    "greedy": ({}, {}),
    "beam": ({"beam_size": 3}, {"num_beams": 3}),
    "beam-long": (
        {"beam_size": 3, "length_penalty": 2.0},
        {"num_beams": 3, "length_penalty": 2.0},
    ),
    "beam-short": (
        {"beam_size": 4, "length_penalty": -0.5},
        {"num_beams": 4, "length_penalty": -0.5},
    ),
}


def peer(name):
    """Returns a random model of transformers, and our arguments."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(3)
        model, arguments = build_peer(name)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(NOISE[name] * torch.randn(weight.shape))
    return model.eval(), arguments


def build_peer(name):
    import transformers

    end = {"eos_token_id": None, "bos_token_id": None, "pad_token_id": 0}
    if name == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=97,
            n_embd=24,
            n_layer=3,
            n_head=3,
            n_positions=64,
            tie_word_embeddings=True,
            **end,
        )
        model = transformers.GPT2LMHeadModel(config)
        return model, {"final_activation": "linear"}
    config = transformers.T5Config(
        vocab_size=97,
        d_model=24,
        d_kv=8,
        d_ff=40,
        num_layers=3,
        num_heads=3,
        feed_forward_proj="gated-gelu" if name == "t5.1.1" else "relu",
        decoder_start_token_id=0,
        tie_word_embeddings=name == "t5.1.0",
        **end,
    )
    config.tie_word_embeddings = name == "t5.1.0"  # T5's sets it back
    model = transformers.T5ForConditionalGeneration(config)
    model.set_input_embeddings(model.shared)  # else tied only with the output
    return model, {"with_lm": "linear"}


def of_transformers(model, end, **options):
    """Returns `(prompts, hypotheses, NEW)` ids and the scores of beams."""
    import torch

    ids, scores = [], []
    for prompt in PROMPTS:
        made = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=NEW,
            eos_token_id=end,
            do_sample=False,
            early_stopping=False,
            return_dict_in_generate=True,
            output_scores=True,
            **options,
        )
        start = 1 if model.config.is_encoder_decoder else len(prompt)
        new = made.sequences[:, start:].numpy()
        # its beam search pads with `end` where the id of padding is 0
        ended = np.cumsum(new == end, axis=1) - (new == end) > 0
        new = np.where(ended, 0, new)
        ids.append(np.pad(new, ((0, 0), (0, NEW - new.shape[1]))))
        if "num_beams" in options:
            scores.append(made.sequences_scores.numpy())
    return np.stack(ids), np.array(scores)


@pytest.mark.parametrize("name", ["gpt2", "t5.1.0", "t5.1.1"])
@pytest.mark.parametrize("search", SEARCHES)
def test_ids_equal_those_of_transformers(name, search, tmp_path):
    theirs, arguments = peer(name)
    theirs.save_pretrained(tmp_path)
    ours = build_transformer_model(tmp_path, tmp_path, name, **arguments)
    options, their_options = SEARCHES[search]
    count = {"num_return_sequences": options.get("beam_size", 1)}
    their_options = {**their_options, **count}
    free, _ = of_transformers(theirs, None, **their_options)
    for end in np.bincount(free.flat, minlength=97).argsort()[::-1].tolist():
        expected, scores = of_transformers(theirs, end, **their_options)
        if end and (expected == end).any(axis=-1).sum() > 1:
            break  # some sequences end
    else:
        raise AssertionError("no sequence of transformers ends")
    made = generate(
        ours,
        PROMPTS,
        max_new_tokens=NEW,
        end_id=end,
        return_scores=True,
        **options,
        **count,
    )
    ids = np.reshape(made[0], expected.shape)
    assert ids.tolist() == expected.tolist()
    if "beam" in search:
        np.testing.assert_allclose(
            np.reshape(made[1], scores.shape), scores, atol=1e-4
        )
