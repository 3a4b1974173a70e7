"""Article: none; bert4keras and transformers read what we wrote, and back.

Outputs are equal, on padded batches, to 1e-5 of the peer's largest value;
bert4keras needs Keras 2: see `legacy.py`.
"""

import json

import keras
import numpy as np
import pytest

from su_models.checkpoints import load_checkpoint, save_checkpoint
from su_models.models import build_transformer_model
from tests.contract import to_numpy
from tests.parity.legacy import run_legacy

pytestmark = pytest.mark.parity
CONFIG = {
    "vocab_size": 97,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
}
LENGTHS = [13, 8, 11]
HEADS = [{}, {"with_pool": True, "with_nsp": True, "with_mlm": "linear"}]


def batch():
    """Ids, segments, and which are no padding."""
    random = np.random.default_rng(0)
    real = np.arange(13) < np.array(LENGTHS)[:, None]
    ids = random.integers(1, 97, real.shape) * real
    segments = (np.arange(13) > 5) * real
    return ids.astype("int32"), segments.astype("int32"), real


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    return str(path)


def randomize(model):
    random = np.random.default_rng(1)
    model.set_weights(
        [random.normal(scale=0.3, size=w.shape) for w in model.get_weights()]
    )


def outputs(model):
    ids, segments, _ = batch()
    return [to_numpy(x) for x in keras.tree.flatten(model([ids, segments]))]


def assert_close(ours, peers):
    """Float32 parity, where there is no padding."""
    *_, real = batch()
    for x, y in zip(ours, peers, strict=True):
        x, y = (z[real] if z.ndim == 3 else z for z in (x, y))
        atol = 1e-5 * np.abs(y).max()
        np.testing.assert_allclose(x, y, rtol=0, atol=atol)


@pytest.mark.parametrize("heads", HEADS, ids=["encoder", "heads"])
def test_bert4keras_reads_ours_and_we_its(heads, config, tmp_path):
    model = build_transformer_model(config, **heads)
    randomize(model)
    paths = {"ours": tmp_path / "ours", "theirs": tmp_path / "theirs"}
    save_checkpoint(model, paths["ours"])
    ids, segments, _ = batch()
    peers = run_legacy(
        "legacy_checkpoint.py",
        tmp_path,
        config=config,
        options=json.dumps(heads),
        ids=ids,
        segments=segments,
        **{name: str(path) for name, path in paths.items()},
    )
    mine = outputs(model)
    assert_close(mine, [peers[f"ours{i}"] for i in range(len(mine))])
    assert load_checkpoint(model, paths["theirs"]) == []
    assert_close(
        outputs(model), [peers[f"theirs{i}"] for i in range(len(mine))]
    )


@pytest.mark.parametrize("heads", HEADS, ids=["encoder", "heads"])
def test_transformers_reads_ours_and_we_its(heads, config, tmp_path):
    torch = pytest.importorskip("torch", reason="peer: torch")
    peer = pytest.importorskip("transformers", reason="peer: transformers")
    cls = peer.BertForPreTraining if heads else peer.BertModel
    settings = peer.BertConfig(**CONFIG, attn_implementation="eager")
    options = {} if heads else {"add_pooling_layer": False}
    ids, segments, real = (torch.from_numpy(x).long() for x in batch())

    def theirs(bert):
        with torch.no_grad():
            found = bert.eval()(ids, real, segments)
        if not heads:
            return [found.last_hidden_state.numpy()]
        following = torch.softmax(found.seq_relationship_logits, -1)
        return [following.numpy(), found.prediction_logits.numpy()]

    torch.manual_seed(0)
    bert = cls(settings, **options)
    for weight in bert.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    bert.save_pretrained(tmp_path / "whole")
    bert.save_pretrained(tmp_path / "parts", max_shard_size="20KB")
    assert len([*(tmp_path / "parts").glob("*.safetensors")]) > 1
    for folder in ("whole", "parts"):
        model = build_transformer_model(config, **heads)
        assert load_checkpoint(model, tmp_path / folder) == []
        assert_close(outputs(model), theirs(bert))

    randomize(model)
    settings.save_pretrained(tmp_path / "ours")
    save_checkpoint(model, tmp_path / "ours" / "model.safetensors")
    bert, report = cls.from_pretrained(
        tmp_path / "ours", output_loading_info=True, **options
    )
    assert not any(report.values()), report
    assert_close(outputs(model), theirs(bert))
