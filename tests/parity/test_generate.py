"""Generation equals that of `transformers`, on the same weights.

Article: https://kexue.fm/archives/6933
"""

import numpy as np
import pytest

from su_models.models import build_transformer_model, generate

pytestmark = pytest.mark.parity
PROMPTS = [[3, 9, 4, 22, 7, 40], [8, 1], [5, 30, 2, 17]]
NEW = 12
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


def randomized(model):
    import torch

    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.add_(0.25 * noise)
    return model.eval()


def peer(name):
    """Returns a random model of transformers, and our arguments."""
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
        return randomized(transformers.GPT2LMHeadModel(config)), {
            "final_activation": "linear"
        }
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
    return randomized(model), {"with_lm": "linear"}


@pytest.mark.parametrize("name", ["gpt2", "t5.1.0", "t5.1.1"])
@pytest.mark.parametrize("search", SEARCHES)
def test_ids_equal_those_of_transformers(name, search, tmp_path):
    import torch

    theirs, arguments = peer(name)
    theirs.save_pretrained(tmp_path)
    ours = build_transformer_model(tmp_path, tmp_path, name, **arguments)
    options, their_options = SEARCHES[search]
    options = {"max_new_tokens": NEW, **options}
    free = generate(ours, PROMPTS, **options)
    for end in np.bincount(free.flat).argsort()[::-1].tolist():
        ids, scores = generate(
            ours, PROMPTS, end_id=end, return_scores=True, **options
        )
        if (ids == end).any(axis=1).sum() > 1:
            break  # some sequences end
    assert (ids == end).any()
    for i, prompt in enumerate(PROMPTS):
        made = theirs.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=NEW,
            eos_token_id=end,
            do_sample=False,
            early_stopping=False,
            return_dict_in_generate=True,
            output_scores=True,
            **their_options,
        )
        new = made.sequences[0, len(prompt) if name == "gpt2" else 1 :]
        expected = np.pad(new.numpy(), (0, NEW - len(new)))
        assert ids[i].tolist() == expected.tolist()
        if "beam" in search:
            np.testing.assert_allclose(
                scores[i], made.sequences_scores[0].numpy(), atol=1e-4
            )
