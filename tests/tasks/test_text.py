"""Article: https://kexue.fm/archives/6933

The base of tasks that write text, with a free form.
"""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
from keras import ops

from su_models.models import build_transformer_model
from su_models.tasks.quatrains import SPECIALS
from su_models.tasks.text import TOKENS, TextTask, _Pieces, tokenizer_of
from su_models.tasks.vocabulary_embedding import VocabularyEmbedding

WORDS = [*SPECIALS, "天", "地", "玄", "黄", "don", "'", "t", "##s", "a"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Babble(TextTask):
    task_name: ClassVar[str] = "babble"

    def prompts(self, tokenizer, texts):
        return tokenizer.encode_batch(texts)


@pytest.fixture(scope="module")
def model():
    embedding = VocabularyEmbedding(WORDS, 8, mask_zero=True, name=TOKENS)
    return build_transformer_model(
        model="roformer_v2",
        application="unilm",
        with_mlm="linear",
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        hidden_act="relu",
        layers={TOKENS: embedding},
    )


def words_only(tokens, step):
    """Nothing special, and no end."""
    return ops.convert_to_tensor([[t not in SPECIALS for t in WORDS]])


def write(model, texts=("天", "天"), **options):
    options = {"allowed_tokens": words_only, **options}
    return Babble().generate(model, list(texts), max_new_tokens=5, **options)


def test_streamed_pieces_add_up_to_the_texts(model):
    for seed in range(8):
        pieces = []
        texts = write(model, seed=seed, stream=pieces.append)
        assert texts == write(model, seed=seed)
        assert len(pieces) in (5, 6)
        joined = ["".join(row) for row in zip(*pieces, strict=True)]
        assert joined == texts


def test_no_character_is_sent_before_it_is_certain():
    tokenizer, random = tokenizer_of(WORDS), np.random.default_rng(0)
    for _ in range(300):
        ids = random.integers(len(WORDS), size=7)
        sent = []
        pieces = _Pieces(tokenizer, 1, sent.extend)
        for step, i in enumerate(ids):
            pieces(step, np.array([i]))
        pieces.end([tokenizer.decode(ids.tolist())])
        assert "".join(sent) == tokenizer.decode(ids.tolist())
    sent = []
    pieces = _Pieces(tokenizer, 1, sent.extend)
    for step, i in enumerate(tokenizer.tokens_to_ids(["天", "，", "地"])):
        pieces(step, np.array([i]))
    assert sent == ["天", "，", "地"]


def test_texts_depend_on_the_seed_and_the_position(model):
    few, many = write(model, seed=3), write(model, ["天"] * 4, seed=3)
    assert many[:2] == few and len({*many}) > 2
    assert write(model, seed=4) != few


def test_each_way_of_decoding_is_chosen(model):
    greedy = write(model, top_k=1)
    assert greedy[0] == greedy[1] == write(model, top_k=1, seed=5)[0]
    sampled = write(model, ["天"] * 8)
    assert len({*sampled}) > 2
    nucleus = write(model, ["天"] * 8, top_p=0.9)
    assert sampled == nucleus
    beams = write(model, beam_size=3)
    assert beams[0] == beams[1]


def test_the_vocabulary_is_that_of_the_model(model):
    tokenizer = Babble().tokenizer(model)
    assert tokenizer.token_dict == tokenizer_of(WORDS).token_dict
    assert write(model, ["😀 xyz", "天"])  # [UNK]


def test_progress_is_reported(model):
    seen = []
    write(model, progress=lambda *numbers: seen.append(numbers))
    assert seen == [(2, 2)]


@pytest.mark.parametrize(
    "texts, options, match",
    [
        ([], {}, r"Received: texts=\[\]"),
        (["天", " "], {}, r"Received: texts=\['天', ' '\]"),
        ("天", {}, "texts='天'"),
        ([3], {}, r"texts=\[3\]"),
        (["天"], {"seed": None}, "seed=None"),
        (["天"], {"seed": -1}, "seed=-1"),
        (["天"], {"top_p": 0}, "top_p=0"),
        (["天"], {"beam_size": 0}, "beam_size=0"),
        (["天"], {"beam_size": 2, "top_p": 0.5}, "Beam search does not"),
        (["天"], {"beam_size": 2, "stream": print}, "no `stream`"),
        (["天"], {"temperature": 0}, "temperature=0"),
    ],
)
def test_bad_arguments_are_rejected(model, texts, options, match):
    with pytest.raises(ValueError, match=match):
        Babble().generate(model, texts, max_new_tokens=2, **options)


def test_samples_are_lines_of_text():
    assert Babble().sample_endings == (".txt",)
    assert np.isin(["seed", "beam_size"], Babble().generate_options).all()
