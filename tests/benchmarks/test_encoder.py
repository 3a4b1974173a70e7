"""The benchmark of encoders, in its smallest form."""

import json
import os

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.parity
BACKEND = keras.config.backend()
compiling = pytest.mark.skipif(
    BACKEND == "torch", reason="the benchmark is of XLA"
)


@pytest.fixture(scope="module")
def benchmark():
    from benchmarks import encoder

    return encoder


class Party:
    """Stands for a party: hidden states before and after, and losses."""

    def __init__(self, name, hidden, losses, trained, form="XLA"):
        self.name, self.forms = name, (form,)
        self.before, self.found, self.after = hidden, losses, trained

    def prepare(self, path):
        self.now = self.before

    def hidden(self, form, path):
        np.save(path, np.array(self.now))

    def losses(self, form, steps):
        self.now = self.after
        return self.found[:steps]


X, LOSSES, TRAINED = [1.0, -1.0], [0.7, 0.6, 0.5], [2.0, -1.0]


def test_parties_with_other_numbers_end_the_run(benchmark, tmp_path):
    first = Party("su_models", X, LOSSES, TRAINED)

    def check(*arguments):
        return benchmark.check_same([first, Party(*arguments)], tmp_path)

    near = [1.000001, -1.0], [0.7, 0.6, 0.501], [2.00001, -1.0]
    errors = check("peer", *near)
    assert errors["su_models, XLA"] == (0, 0, 0)
    assert errors["peer, XLA"] == pytest.approx(
        (1e-6 / 2**0.5, 5e-3, 1e-5 / 5**0.5), rel=1e-3
    )
    for wrong in (
        ([1.001, -1.0], LOSSES, TRAINED),
        (X, [0.7, 0.6, 0.51], TRAINED),
        (X, LOSSES, [2.01, -1.0]),
        ([np.nan, -1.0], LOSSES, TRAINED),
        (X, [0.7, 0.6, np.nan], TRAINED),
        (X, LOSSES, [np.nan, -1.0]),
    ):
        with pytest.raises(SystemExit, match="^peer, XLA gives other numbers"):
            check("peer", *wrong)
    wide = [1.01, -1.0], [0.7, 0.6, 0.51], [2.01, -1.0]
    assert check("peer", *wide, "bfloat16")["peer, bfloat16"][1] > 9e-3


def test_ratios_are_those_of_the_best_forms(benchmark):
    times = {
        "su_models, graph": 12,
        "su_models, XLA": 10,
        "su_models, graph, bfloat16": 6,
        "keras-hub, graph": 15,
        "keras-hub, XLA": 13,
        "bert4keras, graph": 14,
        "bert4keras, XLA": 11,
        "transformers, float32": 20,
        "transformers, bfloat16": 5,
    }
    summary = {name: {"median_ms": t} for name, t in times.items()}
    assert benchmark.claims(summary) == {
        "keras-hub / su_models": 1.3,
        "bert4keras, graph / su_models": 1.4,
        "bert4keras / su_models": 1.1,
        "transformers / su_models": 2.0,
        "bfloat16 / float32, graph": 0.5,
    }


@compiling
@pytest.mark.parametrize("model", ["bert", "roformer_v2"])
def test_keras_hub_gets_our_weights(benchmark, model, tmp_path, monkeypatch):
    pytest.importorskip("keras_hub", reason="peer: keras-hub")
    benchmark.write_encoder(model, benchmark.SMALL, tmp_path)
    benchmark.write_batch("2x7", benchmark.SMALL, tmp_path / "batch.npz")
    everyone = [
        *benchmark.parties(model, benchmark.SMALL, tmp_path, ["keras-hub"])
    ]
    names = [party.name for party in everyone]
    assert names == ["su_models", *names[1:-1], "keras-hub"]
    errors = benchmark.check_same(everyone, tmp_path)
    assert len(errors) == sum(len(party.forms) for party in everyone)
    # an Adam that squares the gradients of repeated tokens apart is noticed
    if BACKEND == "tensorflow":
        monkeypatch.setattr(benchmark, "SummedGradients", lambda adam: adam)
        wrong = [
            *benchmark.parties(model, benchmark.SMALL, tmp_path, ["keras-hub"])
        ]
        with pytest.raises(SystemExit, match="^keras-hub, graph gives other"):
            benchmark.check_same(wrong, tmp_path)


@compiling
def test_weights_and_batches_are_no_special_ones(benchmark, tmp_path):
    benchmark.write_encoder("bert", benchmark.SMALL, tmp_path)
    encoder = benchmark.ours("bert", tmp_path)
    for weight in encoder.trainable_weights:
        assert np.std(keras.ops.convert_to_numpy(weight)) > 0
    benchmark.write_batch("2x7", benchmark.SMALL, tmp_path / "batch.npz")
    with np.load(tmp_path / "batch.npz") as batch:
        assert batch["ids"].shape == (2, 7) and batch["ids"].min() > 0
        assert {*batch["segments"].ravel()} == {0, 1}
        assert batch["labels"].tolist() == [0, 1]


@compiling
def test_every_peer_is_measured(benchmark, tmp_path, capsys):
    for peer in ("keras_hub", "transformers", "torch"):
        pytest.importorskip(peer, reason=f"peer: {peer}")
    if not os.environ.get("SU_MODELS_LEGACY_PYTHON"):
        pytest.skip("peer: SU_MODELS_LEGACY_PYTHON names no interpreter")
    path = tmp_path / "results.json"
    benchmark.main(["--smoke", "--json", str(path)])
    models = json.loads(path.read_text())[BACKEND]["models"]
    peers = {
        "bert": {"keras-hub", "bert4keras", "transformers"},
        "roformer": {"bert4keras", "transformers"},
        "roformer_v2": {"keras-hub", "bert4keras"},
    }
    for model, results in models.items():
        result = results["2x7"]
        for part in ("forward", "step"):
            times = result[part]["seconds"]
            assert {n.split(",")[0] for n in times} == {
                "su_models",
                *peers[model],
            }
            assert {*times} == {*result["errors"]}
            ratios = [r["ratio"] for r in result[part]["summary"].values()]
            assert 1 in ratios and min(ratios) > 0
    shown = capsys.readouterr().out
    assert "bert4keras, graph / su_models" in shown and "bfloat16:" in shown


@compiling
def test_the_start_is_measured(benchmark, tmp_path, capsys):
    path = tmp_path / "results.json"
    words = ["--smoke", "--startup", "--json", str(path)]
    benchmark.main(words)
    result = json.loads(path.read_text())[f"{BACKEND}, startup"]["startup"]
    assert {*result["summary"]} == {"su_models", "Keras"}
    assert "more than Keras" in capsys.readouterr().out


@pytest.mark.slow
@compiling
def test_import_and_build_take_hardly_longer_than_keras(benchmark):
    """The least time that processors work, as other tests run beside this.

    The 0.3 s of the target show on free cores only (benchmarks/README.md).
    """
    times = benchmark.startup(benchmark.SMALL, 5)["processors"]
    assert len(times["su_models"]) == len(times["Keras"]) == 5
    assert min(times["su_models"]) <= 1.2 * min(times["Keras"])
