"""Article: https://kexue.fm/archives/10091

The parts of the example, with a model of random weights.
"""

import json
import os
import pathlib
import struct

import numpy as np
import pytest

from su_models.models import generate
from tests.contract import to_numpy
from tests.examples.test_ddpm_digits import example

STORY = example("story_llama")
SIZES = {
    "dim": 8,
    "hidden_dim": 12,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "vocab_size": 20,
    "max_seq_len": 32,
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A checkpoint of llama2.c with random weights."""
    d, hidden, layers, heads, groups, vocabulary, length = SIZES.values()
    kv = d // heads * groups
    block = 2 * d + 2 * d * d + 2 * d * kv + 3 * d * hidden
    count = vocabulary * d + layers * block + d + length * (d // heads)
    floats = np.random.default_rng(0).normal(0, 0.5, count).astype("<f4")
    path = tmp_path_factory.mktemp("llama") / "tiny.bin"
    path.write_bytes(struct.pack("<7i", *SIZES.values()) + floats.tobytes())
    return path


@pytest.fixture(scope="module")
def model(path):
    return STORY.load_model(path)[0]


def test_a_search_without_a_cache_gives_the_same(model):
    for prompt in ([1], [1, 7, 5, 12]):
        options = {"max_new_tokens": 9, "end_id": STORY.START}
        story = generate(model, [prompt], **options)[0]
        found = STORY.Uncached(model, len(prompt) + 9)(prompt, 9)
        assert found.tolist() == story.tolist()


def test_certainty_is_that_of_a_loop(model):
    prompt, story = [1, 4], np.array([7, 3, 1, 0, 0])
    p, entropy = STORY.certainty(model, prompt, story)
    logits = to_numpy(model(np.array([[1, 4, 7, 3, 1]])))[0].astype("float64")
    for i, token in enumerate((7, 3, 1)):
        shares = np.exp(logits[1 + i]) / np.exp(logits[1 + i]).sum()
        assert p[i] == pytest.approx(shares[token], rel=1e-4)
        bits = -(shares * np.log2(shares)).sum()
        assert entropy[i] == pytest.approx(bits, rel=1e-4)
    assert len(p) == len(entropy) == 3


class Words:
    """Stands for a tokenizer of 20 words."""

    vocab_size = 20

    def encode(self, text):
        return [[int(word[1:]) for word in text.split()], None]

    def decode(self, ids):
        return " ".join(f"w{i}" for i in ids)


def test_stories_are_ids_or_text():
    stories = {"greedy": np.array([7, 3, 1, 0])}
    assert STORY.as_text([1, 9], stories, None) == "greedy:\n9 7 3\n"
    assert STORY.as_text([1, 9], stories, Words()) == "greedy:\nw9 w7 w3\n"
    assert STORY.ids_of("403, 407 2", None) == [403, 407, 2]
    assert STORY.ids_of("w4 w5", Words()) == [4, 5]
    assert STORY.ids_of("", None) == []


def test_wrong_input_is_rejected(model, path, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="must be ids.*Received: 'Once'"):
        STORY.ids_of("Once", None)
    with pytest.raises(ValueError, match=r"0 to 19. Received: \[20\]"):
        STORY.check_prompt([1, 20], 3, model, 32)
    with pytest.raises(ValueError, match="positive. Received: 0"):
        STORY.check_prompt([1], 0, model, 32)
    monkeypatch.setenv(STORY.DATA, str(tmp_path))
    with pytest.raises(FileNotFoundError, match="The data set lacks"):
        STORY.main([])
    words = ["--checkpoint", str(path), "--prompt", "5 " * 30]
    with pytest.raises(ValueError, match="32 tokens. Received: 31 and 256"):
        STORY.main(words)


def test_the_whole(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    STORY.main(["--smoke", "--checkpoint", str(path), "--prompt", "5 6"])
    out = capsys.readouterr().out
    assert "the first 12 tokens of the 12 are the same." in out
    folder = tmp_path / "runs" / "smoke-story-llama"
    text = (folder / "stories.txt").read_text("utf-8")
    assert text in out
    assert text.count("\n5 6 ") == 1 + STORY.STORIES
    assert (folder / "stories.png").read_bytes()[1:4] == b"PNG"
    figures = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert figures["cached_tokens_per_second"] > 0


@pytest.mark.data
def test_the_real_model_begins_its_story():
    folder = pathlib.Path(os.environ["SU_MODELS_DATA"], "ckpt", "stories260K")
    if not (folder / "stories260K.bin").exists():
        pytest.skip(f"{folder} is not there")
    model, longest = STORY.load_model(folder / "stories260K.bin")
    assert longest == 512
    made = generate(model, [[STORY.START]], max_new_tokens=10)
    assert made.tolist() == [[403, 407, 261, 378, 432, 383, 286, 261, 376, 298]]
