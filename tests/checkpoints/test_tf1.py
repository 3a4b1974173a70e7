import os
import pathlib
import shutil

import numpy as np
import pytest

from su_models.checkpoints import open_checkpoint, tf1
from su_models.checkpoints.tf1 import INDEX_END, TF1Checkpoint, write_tf1

ARRAYS = {
    "bert/embeddings/word_embeddings": np.arange(21, dtype="float32").reshape(
        7, 3
    ),
    "a/bias": np.array([1.5, -0.0, np.nan], "float32"),
    "half": np.array([1, 2], "float16"),
    "global_step": np.array(7, "int64"),
    "empty": np.zeros((0, 3), "float32"),
}


def write(prefix, arrays=ARRAYS):
    write_tf1(prefix, {k: lambda v=v: v for k, v in arrays.items()})
    return prefix


def data(prefix):
    return pathlib.Path(f"{prefix}.data-00000-of-00001")


def folder():
    return pathlib.Path(os.environ["SU_MODELS_DATA"]) / "ckpt"


def test_what_is_written_is_read_to_the_bit(tmp_path):
    prefix = write(tmp_path / "model.ckpt")
    names = {"model.ckpt.index", data("model.ckpt").name}
    assert {p.name for p in tmp_path.iterdir()} == names
    checkpoint = TF1Checkpoint(prefix)
    assert list(checkpoint) == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        assert checkpoint.shape(name) == array.shape
        assert checkpoint.dtype(name) == array.dtype
        assert checkpoint[name].tobytes() == array.tobytes()


def test_tensorflow_reads_it(tmp_path):
    import tensorflow as tf

    prefix = str(write(tmp_path / "model.ckpt"))
    for name, array in ARRAYS.items():
        value = tf.train.load_variable(prefix, name)
        np.testing.assert_array_equal(value, array)
    assert tf.compat.v1.train.checkpoint_exists(prefix)


def test_bfloat16(tmp_path):
    import ml_dtypes

    array = np.array([1, 2.5], ml_dtypes.bfloat16)
    checkpoint = TF1Checkpoint(write(tmp_path / "a", {"x": array}))
    assert checkpoint.dtype("x") == "bfloat16"
    assert checkpoint["x"].tobytes() == array.tobytes()


def test_a_checkpoint_is_replaced(tmp_path):
    prefix = write(tmp_path / "a")
    write(prefix, {"x": np.ones(3, "float32")})
    assert list(TF1Checkpoint(prefix)) == ["x"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failed_write_leaves_the_checkpoint(tmp_path, monkeypatch):
    prefix = write(tmp_path / "a")

    def fail():
        raise RuntimeError("no array")

    with pytest.raises(RuntimeError, match="no array"):
        write_tf1(prefix, {"x": fail})

    def full(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        write(prefix, {"x": np.ones(3, "float32")})
    assert len(list(tmp_path.iterdir())) == 2
    assert list(TF1Checkpoint(prefix)) == sorted(ARRAYS)


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_kill_leaves_no_index_over_other_data(tmp_path, monkeypatch, step):
    """Whatever call is the last, old and new parts are not mixed."""

    class Killed(BaseException):
        pass

    prefix = write(tmp_path / "a")
    replace, done = os.replace, []

    def killed(*args):
        if len(done) == step:
            raise Killed
        done.append(replace(*args))

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(Killed):
        write(prefix, {"x": np.ones(3, "float32")})
    assert (tmp_path / "a.index").exists() == (step == 0)
    if step == 0:
        assert len(dict(TF1Checkpoint(prefix))) == len(ARRAYS)


def test_data_that_cannot_be_replaced_leave_the_checkpoint(
    tmp_path, monkeypatch
):
    prefix, replace = write(tmp_path / "a"), os.replace

    def full(source, target):
        if ".data-" in str(target):
            raise OSError("disk full")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        write(prefix, {"x": np.ones(3, "float32")})
    assert len(list(tmp_path.iterdir())) == 2
    assert len(dict(TF1Checkpoint(prefix))) == len(ARRAYS)


def test_an_error_without_words_is_named(tmp_path, monkeypatch):
    import tensorflow as tf

    def silent(prefix):
        raise RuntimeError

    monkeypatch.setattr(tf.train, "load_checkpoint", silent)
    with pytest.raises(ValueError, match=r"\(RuntimeError\).*path=.*a$"):
        TF1Checkpoint(tmp_path / "a")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        write(tmp_path / "nowhere" / "a")


def test_an_index_without_data_has_shapes_only(tmp_path):
    prefix = write(tmp_path / "a")
    data(prefix).unlink()
    checkpoint = TF1Checkpoint(prefix)
    assert checkpoint.shape("a/bias") == (3,)
    for attempt in (checkpoint.check_data, lambda: checkpoint["a/bias"]):
        with pytest.raises(
            ValueError, match=r"Received: path=.*without a\.data"
        ):
            attempt()


@pytest.mark.parametrize("kept", [0, 10, -1, -20])
def test_truncated_data_name_the_tensor(tmp_path, kept):
    prefix = write(tmp_path / "a")
    data(prefix).write_bytes(data(prefix).read_bytes()[:kept])
    checkpoint = TF1Checkpoint(prefix)
    with pytest.raises(ValueError, match="The tensor `.*` cannot be read: "):
        dict(checkpoint)


def test_a_flipped_bit_names_the_tensor(tmp_path):
    prefix = write(
        tmp_path / "a", {"x": np.ones(9, "float32"), "y": np.ones(9)}
    )
    content = bytearray(data(prefix).read_bytes())
    content[20] ^= 1
    data(prefix).write_bytes(content)
    checkpoint = TF1Checkpoint(prefix)
    assert checkpoint["y"].sum() == 9
    with pytest.raises(ValueError, match="`x` cannot be read: .*hecksum"):
        checkpoint["x"]


@pytest.mark.parametrize("damage", ["empty", "short", "flipped", "text"])
def test_a_damaged_index_is_refused(tmp_path, damage):
    prefix = write(tmp_path / "a")
    index = tmp_path / "a.index"
    content = bytearray(index.read_bytes())
    assert content.endswith(INDEX_END)
    content[20] ^= 1
    content = {
        "empty": b"",
        "short": index.read_bytes()[:-9],
        "flipped": content,
        "text": b"no index" * 20,
    }[damage]
    index.write_bytes(content)
    with pytest.raises(ValueError, match="Not a whole index .*path=.*a$"):
        TF1Checkpoint(prefix)


def test_nothing_is_hidden_from_tensorflow_where_it_runs(tmp_path, monkeypatch):
    import tensorflow as tf

    hidden = []
    hide = "set_visible_devices"
    monkeypatch.setattr(tf.config, hide, lambda *a: hidden.append(a))
    for running in (True, False):
        monkeypatch.setattr(tf1, "runs_on", lambda name, r=running: r)
        write(tmp_path / "a")
    assert hidden == [([], "GPU")]


@pytest.mark.data
def test_a_checkpoint_of_google_is_read():
    with open_checkpoint(folder() / "keras_bert_toy") as checkpoint:
        assert len(checkpoint) == 139 and checkpoint.format == "tf1"
        table = checkpoint["bert/embeddings/word_embeddings"]
        assert table.shape == (15, 4) and np.isfinite(table).all()
        total = sum(np.abs(checkpoint[name]).sum() for name in checkpoint)
        assert np.isfinite(total)


@pytest.mark.data
def test_a_checkpoint_of_openai_is_read():
    with open_checkpoint(folder() / "keras_gpt2_toy" / "model.ckpt") as toy:
        assert len(toy) == 40 and toy.shape("model/wte") == (356, 15)
        assert toy["model/h0/attn/c_attn/w"].shape == (1, 15, 45)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "tensors", "parameters"),
    [
        ("bert_wwm_index_only", 207, 102_882_443),
        ("albert_tiny_zh_index_only", 31, 4_295_186),
    ],
)
def test_real_indices_have_all_shapes_and_no_data(name, tensors, parameters):
    with open_checkpoint(folder() / name) as checkpoint:
        assert len(checkpoint) == tensors
        sizes = [np.prod(checkpoint.shape(n), dtype=int) for n in checkpoint]
        assert sum(sizes) == parameters
        with pytest.raises(ValueError, match="bert/pooler/dense/bias.*data"):
            checkpoint["bert/pooler/dense/bias"]


@pytest.mark.data
def test_a_real_checkpoint_goes_out_and_back(tmp_path):
    with open_checkpoint(folder() / "keras_bert_toy") as checkpoint:
        arrays = dict(checkpoint)
    again = TF1Checkpoint(write(tmp_path / "a", arrays))
    assert list(again) == list(arrays)
    assert all(again[n].tobytes() == arrays[n].tobytes() for n in arrays)
    for file in (folder() / "keras_bert_toy").glob("*.data*"):
        shutil.copy(file, tmp_path / "copy")
        assert len(data(tmp_path / "a").read_bytes()) == file.stat().st_size
