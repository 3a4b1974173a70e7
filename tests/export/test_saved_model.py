"""Article: https://kexue.fm/archives/9119, https://kexue.fm/archives/9181"""

import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from su_models.export import export_saved_model
from su_models.models import build_ddpm
from su_models.sampling import DDIM, NoiseSchedule
from su_models.utils import files
from tests.contract import normal, to_numpy

BACKEND = keras.config.backend()
SCHEDULE = NoiseSchedule.author(12)

exports = pytest.mark.skipif(
    BACKEND == "torch", reason="a SavedModel comes from tensorflow or jax"
)
has_endpoints = pytest.mark.skipif(
    BACKEND != "tensorflow", reason="endpoints are exported from tensorflow"
)


def load(path):
    import tensorflow as tf

    return tf.saved_model.load(str(path))


def denoiser(**more):
    """A network with some weight everywhere, so that all of it matters."""
    arguments = {"image_shape": (8, 8, 2), "widths": (16,), "blocks": 1}
    arguments |= {"variant": "dense", "num_steps": 12, **more}
    model = build_ddpm(**arguments)
    random = np.random.default_rng(1)
    for w in model.trainable_weights:
        w.assign(random.normal(scale=0.2, size=w.shape))
    return model


def linear(factor=2.0):
    inputs = keras.Input((3,))
    dense = keras.layers.Dense(2, kernel_initializer="ones", name="dense")
    model = keras.Model(inputs, dense(inputs))
    dense.kernel.assign(factor * ops.ones((3, 2)))
    return model


ONE = np.ones((1, 3), "float32")


def served(path):
    """What the artifact of `linear` makes of three ones: thrice its factor."""
    artifact = load(path)
    return float(artifact.serve(ONE)[0, 0])


# ---- the model


@exports
@pytest.mark.parametrize(
    "more", [{}, {"variant": "ho", "widths": (4,), "groups": 2}]
)
def test_artifact_serves_what_the_model_predicts(more, tmp_path):
    model = denoiser(**more)
    export_saved_model(model, tmp_path / "saved")
    artifact = load(tmp_path / "saved")
    for n in 1, 3:
        x, t = normal(n, 8, 8, 2), np.array([1, 12, 5], "int32")[:n]
        expected = model.predict([x, t], verbose=0)
        np.testing.assert_allclose(artifact.serve([x, t]), expected, atol=1e-5)


@exports
def test_inputs_keep_their_structure(tmp_path):
    a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
    model = keras.Model({"a": a, "b": b}, {"sum": a + b, "first": a})
    export_saved_model(model, str(tmp_path / "saved"))
    artifact = load(tmp_path / "saved")
    y = artifact.serve({"a": 2 * ONE, "b": ONE})
    np.testing.assert_array_equal(y["sum"], 3 * ONE)
    np.testing.assert_array_equal(y["first"], 2 * ONE)


@exports
def test_sequential_models_are_served(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Rescaling(2.0)])
    export_saved_model(model, tmp_path / "saved")
    artifact = load(tmp_path / "saved")
    np.testing.assert_array_equal(artifact.serve(ONE), 2 * ONE)


@exports
def test_dropout_is_off(tmp_path):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dropout(0.9)(inputs))
    export_saved_model(model, tmp_path / "saved")
    artifact = load(tmp_path / "saved")
    np.testing.assert_array_equal(artifact.serve(ONE), ONE)


@exports
def test_model_trains_on_as_if_it_had_not_been_exported(tmp_path):
    def trained(between):
        keras.utils.set_random_seed(3)
        model = linear()
        model.compile(keras.optimizers.Adam(0.1), "mse")
        x, y = normal(8, 3), normal(8, 2)
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
        compiled_with = model.optimizer, model.loss
        between(model)
        assert (model.optimizer, model.loss) == compiled_with
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
        state = model.weights + model.optimizer.variables
        return [to_numpy(v) for v in state]

    def export(model):
        before = [to_numpy(w) for w in model.weights]
        export_saved_model(model, tmp_path / "saved")
        for w, b in zip(model.weights, before, strict=True):
            np.testing.assert_array_equal(to_numpy(w), b)

    plain, exported = trained(lambda model: None), trained(export)
    for a, b in zip(plain, exported, strict=True):
        np.testing.assert_array_equal(a, b)


@exports
def test_each_weight_is_stored_once(tmp_path):
    import tensorflow as tf

    model = denoiser()
    export_saved_model(model, tmp_path / "saved")
    stored = tf.train.list_variables(tmp_path / "saved/variables/variables")
    shapes = sorted(shape for name, shape in stored if shape)
    assert shapes == sorted([*w.shape] for w in model.weights)
    artifact = load(tmp_path / "saved")
    for kind in "variables", "trainable_variables", "non_trainable_variables":
        found, expected = getattr(artifact, kind), getattr(model, kind)
        assert len(found) == len(expected)
        for v in expected:
            assert any(np.array_equal(to_numpy(v), w) for w in found)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="strings: TensorFlow only")
def test_tables_of_preprocessing_go_along(tmp_path):
    import tensorflow as tf

    lookup = keras.layers.StringLookup(vocabulary=["a", "b"])
    inputs = keras.Input((), dtype="string")
    export_saved_model(keras.Model(inputs, lookup(inputs)), tmp_path / "saved")
    artifact = load(tmp_path / "saved")
    assert artifact.serve(tf.constant(["b", "x"])).numpy().tolist() == [2, 0]


@exports
def test_nothing_is_printed(tmp_path, capfd):
    export_saved_model(linear(), tmp_path / "saved")
    assert capfd.readouterr() == ("", "")


# ---- endpoints

ASKED = ((5, 1), (5, 3), (5, 8), (6, 3))
ALONE = f"""
import sys
sys.modules["keras"] = None  # TensorFlow would import it, but can do without
import numpy as np
import tensorflow as tf

artifact = tf.saved_model.load(sys.argv[1])
draws = [artifact.sample(seed, n) for seed, n in {ASKED}]
assert all(draw.dtype == tf.float32 for draw in draws)
assert artifact.sample(seed=5, num_samples=0).shape == (0, 8, 8, 2)
assert artifact.sample(seed=5, num_samples=-7).shape == (0, 8, 8, 2)
assert artifact.sample(np.int64(5), np.int32(2)).shape == (2, 8, 8, 2)
np.savez(sys.argv[2], *draws)
loaded = {{name.split(".")[0] for name, m in sys.modules.items() if m}}
assert not loaded & {{"keras", "tf_keras", "su_models"}}, loaded
"""


@has_endpoints
def test_artifact_draws_what_the_sampler_draws_without_keras(tmp_path):
    model, sampler = denoiser(), DDIM(SCHEDULE, stride=3, eta=0.7)
    endpoints = {"sample": sampler.endpoint(model, batch_size=3)}
    export_saved_model(model, tmp_path / "saved", endpoints)
    arguments = [tmp_path / "saved", tmp_path / "draws.npz"]
    run = subprocess.run(
        [sys.executable, "-c", ALONE, *arguments],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    draws = np.load(tmp_path / "draws.npz").values()
    for draw, (seed, n) in zip(draws, ASKED, strict=True):
        expected = sampler.sample(model, n, seed, batch_size=3)
        np.testing.assert_array_equal(draw, expected)  # bit by bit


def programs(path):
    """Maps the functions of an artifact to: is it one XLA program?"""
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel()
    proto.ParseFromString((path / "saved_model.pb").read_bytes())
    functions = proto.meta_graphs[0].graph_def.library.function
    return {f.signature.name: f.attr["_XlaMustCompile"].b for f in functions}


@has_endpoints
def test_batches_are_xla_programs_and_the_loop_around_them_is_none(tmp_path):
    model = denoiser()
    endpoints = {"sample": DDIM(SCHEDULE).endpoint(model)}
    export_saved_model(model, tmp_path / "saved", endpoints)
    found = programs(tmp_path / "saved")
    outer = [name for name in found if name.startswith("__inference_sample_")]
    assert outer and not any(found[name] for name in outer)
    assert sum(found.values()) >= 2  # the noise and the loop of steps
    export_saved_model(model, tmp_path / "plain")
    assert not any(programs(tmp_path / "plain").values())


@has_endpoints
def test_function_with_a_signature_becomes_an_xla_program(tmp_path):
    model, shape = linear(), keras.InputSpec(shape=(None, 3), dtype="float32")

    def double(x, y):
        return {"double": 2.0 * model(x) + y}

    fn = double, [shape, keras.InputSpec(shape=(), dtype="float32")]
    export_saved_model(model, tmp_path / "saved", {"double": fn})
    artifact = load(tmp_path / "saved")
    for n in 1, 4:
        y = artifact.double(np.ones((n, 3), "float32"), 1.0)["double"]
        np.testing.assert_array_equal(y, np.full((n, 2), 13.0))
    assert artifact.serve(ONE).shape == (1, 2)
    found = programs(tmp_path / "saved")
    assert any(xla and "double" not in name for name, xla in found.items())
    assert set(artifact.signatures) == {"serve", "double", "serving_default"}


@has_endpoints
def test_endpoint_of_another_model_has_its_weights(tmp_path):
    model, other = linear(), denoiser()
    sampler = DDIM(SCHEDULE, stride=4)
    endpoints = {"sample": sampler.endpoint(other, batch_size=2)}
    export_saved_model(model, tmp_path / "saved", endpoints)
    expected = sampler.sample(other, 3, seed=1, batch_size=2)
    artifact = load(tmp_path / "saved")
    other.set_weights([0 * w for w in other.get_weights()])
    np.testing.assert_array_equal(artifact.sample(1, 3), expected)


@exports
@pytest.mark.skipif(BACKEND == "tensorflow", reason="tensorflow has them")
def test_endpoints_are_refused_on_jax(tmp_path):
    endpoints = {"sample": DDIM(SCHEDULE).endpoint(denoiser())}
    with pytest.raises(NotImplementedError, match="tensorflow.*backend=jax"):
        export_saved_model(denoiser(), tmp_path / "saved", endpoints)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(BACKEND != "torch", reason="this backend exports")
def test_torch_is_refused(tmp_path):
    for endpoints in None, {"sample": DDIM(SCHEDULE).endpoint(denoiser())}:
        match = "tensorflow or jax. Received: backend=torch"
        with pytest.raises(NotImplementedError, match=match):
            export_saved_model(denoiser(), tmp_path / "saved", endpoints)


# ---- replacing, and failing without a trace


@exports
def test_previous_artifact_is_replaced_whole(tmp_path):
    path = tmp_path / "new" / "folders" / "saved"
    export_saved_model(linear(2.0), path)
    assert served(path) == 6
    (path / "left over").touch()
    export_saved_model(linear(5.0), path)
    assert served(path) == 15
    assert not (path / "left over").exists()
    assert [p.name for p in path.parent.iterdir()] == ["saved"]
    assert path.stat().st_mode & 0o777 == path.parent.stat().st_mode & 0o777


@exports
def test_folder_that_is_empty_may_be_taken_and_links_are_followed(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    export_saved_model(linear(), link)
    assert served(real) == 6 and link.is_symlink()


@keras.saving.register_keras_serializable(package="tests")
class Traitor(keras.layers.Layer):
    """Works until it is to be exported."""

    loyal = True

    def call(self, inputs):
        if not self.loyal:
            raise RuntimeError("not with me")
        return inputs


def failing_call(monkeypatch):
    inputs = keras.Input((3,))
    layer = Traitor()
    model = keras.Model(inputs, layer(inputs))
    layer.loyal = False
    return model


def failing_disk(monkeypatch):
    import tensorflow as tf

    def save(obj, path, **more):
        pathlib.Path(path).mkdir()
        pathlib.Path(path, "saved_model.pb").write_bytes(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", save)
    return linear(5.0)


def failing_rename(monkeypatch):
    monkeypatch.setattr(files, "exchange", lambda a, b: False)
    rename = pathlib.Path.rename

    def failing(self, target):
        if self.name == "new":
            raise OSError("the network drive is gone")
        return rename(self, target)

    monkeypatch.setattr(pathlib.Path, "rename", failing)
    return linear(5.0)


@exports
@pytest.mark.parametrize("fail", [failing_call, failing_disk, failing_rename])
@pytest.mark.parametrize("before", [True, False])
def test_failed_export_leaves_all_as_it_was(
    fail, before, tmp_path, monkeypatch
):
    path = tmp_path / "saved"
    if before:
        export_saved_model(linear(2.0), path)
    model = fail(monkeypatch)
    match = "not with me|No space left|drive is gone"
    with pytest.raises((RuntimeError, OSError), match=match):
        export_saved_model(model, path)
    assert [p.name for p in tmp_path.iterdir()] == ["saved"] * before
    assert not before or served(path) == 6


@exports
def test_a_full_disk_is_an_error_of_the_system(tmp_path):
    resource = pytest.importorskip("resource")
    export_saved_model(linear(2.0), tmp_path / "saved")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(OSError, match="File too large. Received: path="):
            export_saved_model(linear(5.0), tmp_path / "saved")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in tmp_path.iterdir()] == ["saved"]
    assert served(tmp_path / "saved") == 6


@exports
def test_two_exports_to_one_path_are_one_too_many(tmp_path, monkeypatch):
    model, path = linear(2.0), tmp_path / "saved"
    archive = keras.export.ExportArchive
    write = archive.write_out

    def twice(self, *arguments, **more):
        with pytest.raises(BlockingIOError, match=f"Received: {path}"):
            export_saved_model(model, path)
        write(self, *arguments, **more)

    monkeypatch.setattr(archive, "write_out", twice)
    export_saved_model(model, path)
    assert served(path) == 6


@pytest.mark.skipif(BACKEND != "jax", reason="about JAX beside TensorFlow")
@pytest.mark.parametrize(
    "versions, refused",
    [(("2.21.0", "0.11.0"), True), (("2.21.0", "1.0.0"), True),
     (("2.21.3", "0.10.9"), False), (("2.30.0", "0.12.0"), False)],
)  # fmt: skip
def test_a_jax_too_new_for_tensorflow_is_refused(
    versions, refused, tmp_path, monkeypatch
):
    import jax
    import tensorflow as tf

    monkeypatch.setattr(tf, "__version__", versions[0])
    monkeypatch.setattr(jax, "__version__", versions[1])
    if refused:
        with pytest.raises(NotImplementedError, match=r"jax>=0.10,<0.11\""):
            export_saved_model(linear(), tmp_path / "saved")
        assert [*tmp_path.iterdir()] == []
    else:
        export_saved_model(linear(), tmp_path / "saved")


@exports
def test_unwritable_path_is_refused_before_anything_is_traced(
    tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("mine")
    path = tmp_path / "file" / "saved"
    with pytest.raises(OSError, match=f"cannot be written.*Received: .*{path}"):
        export_saved_model(failing_call(monkeypatch), path)
    assert (tmp_path / "file").read_text() == "mine"


@exports
def test_files_and_foreign_folders_are_not_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for path in tmp_path, tmp_path / "notes.txt":
        with pytest.raises(ValueError, match=f"Received: path={path}"):
            export_saved_model(linear(), path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


# ---- refusals


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


@exports
@pytest.mark.parametrize(
    "model",
    [
        lambda: None,
        lambda: "net.keras",
        lambda: keras.layers.Dense(2),
        Subclassed,
        keras.Sequential,
    ],
    ids=["None", "path", "layer", "subclassed", "not built"],
)
def test_what_is_no_built_model_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match="`model` must be .*Received: "):
        export_saved_model(model(), tmp_path / "saved")
    assert not list(tmp_path.iterdir())


@has_endpoints
@pytest.mark.parametrize("name", ["serve", "variables", "_x", "a b", "", 3])
def test_bad_names_of_endpoints_are_refused(name, tmp_path):
    endpoints = {name: DDIM(SCHEDULE).endpoint(denoiser())}
    with pytest.raises(ValueError, match=f"Received: name={name!r}"):
        export_saved_model(linear(), tmp_path / "saved", endpoints)


@has_endpoints
@pytest.mark.parametrize(
    "endpoint", [abs, (abs, None), (3, []), None, (abs, [], 1)], ids=str
)
def test_endpoints_without_function_or_signature_are_refused(
    endpoint, tmp_path
):
    with pytest.raises(ValueError, match="Received: (endpoints|fn)"):
        export_saved_model(linear(), tmp_path / "saved", {"f": endpoint})
    assert not list(tmp_path.iterdir())
