import io
import json
import os
import pathlib
import pickle
import shutil
import struct
import zipfile

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

from su_models.checkpoints import open_checkpoint
from su_models.checkpoints.tf1 import write_tf1

ONE = np.ones(3, "float32")


def tf1(folder):
    write_tf1(folder / "model.ckpt", {"a": lambda: ONE})
    return folder / "model.ckpt"


def safetensors(folder):
    save_file({"a": ONE}, folder / "model.safetensors")
    return folder / "model.safetensors"


def sharded(folder):
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model.safetensors"}}))
    safetensors(folder)
    return index


def llama2c(folder):
    path = folder / "model.bin"
    sizes = 2, 2, 1, 1, 1, 3, 1
    floats = 3 * 2 + 2 + 4 * 4 + 2 + 3 * 4 + 2 + 2
    path.write_bytes(struct.pack("<7i", *sizes) + bytes(4 * floats))
    return path


KINDS = {
    tf1: "tf1",
    safetensors: "safetensors",
    sharded: "safetensors",
    llama2c: "llama2.c",
}


@pytest.mark.parametrize("make", KINDS)
def test_the_format_is_told_by_the_content(make, tmp_path):
    path = make(tmp_path)
    for given in (path, str(path), tmp_path):
        with open_checkpoint(given) as checkpoint:
            assert checkpoint.format == KINDS[make]
            assert len(checkpoint) == (11 if make is llama2c else 1)


@pytest.mark.parametrize("make", [safetensors, llama2c])
@pytest.mark.parametrize("name", ["x", "x.h5", "x.ckpt", "x.bin", "x.index"])
def test_names_do_not_matter(make, name, tmp_path):
    path = make(tmp_path).rename(tmp_path / name)
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.format == KINDS[make]


def test_the_index_may_be_named_itself(tmp_path):
    path = tf1(tmp_path)
    with open_checkpoint(f"{path}.index") as checkpoint:
        np.testing.assert_array_equal(checkpoint["a"], ONE)


def zipped(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return content.getvalue()


class Danger:
    def __reduce__(self):
        return os.mkdir, ("pickles run",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickle.dumps({"a": Danger()}), "A file of PyTorch .* may run any"),
        (zipped("archive/data.pkl", "archive/data/0"), "PyTorch .*safetensors"),
        (zipped("config.json", "model.weights.h5"), "keras.saving.load_model"),
        (zipped("a.npy"), "A zip file of another program"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5 .*load_weights"),
        (b"", "A checkpoint must be of"),
        (b"PK\x03\x04 no zip", "A checkpoint must be of"),
        (b"any text" * 20, r"which begins with b'any text'"),
        (bytes(100), "A checkpoint must be of"),
        (b"{no json", "The index of several files must be JSON"),
    ],
)
def test_other_files_are_refused_with_the_reason(
    content, reason, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(content)
    for given in (path, tmp_path):
        with pytest.raises(ValueError, match=f"{reason}.*") as error:
            open_checkpoint(given)
        assert f"Received: path={path}" in str(error.value)
    assert os.listdir(tmp_path) == [path.name]  # nothing was run


def test_a_real_file_of_pytorch_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    for new in (True, False):
        path = tmp_path / "a.pt"
        torch.save(
            {"a": torch.ones(2)}, path, _use_new_zipfile_serialization=new
        )
        with pytest.raises(ValueError, match="file of PyTorch .*may run"):
            open_checkpoint(path)


def test_files_of_keras_are_refused(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    for name, save, hint in (
        ("a.keras", model.save, "load_model"),
        ("a.weights.h5", model.save_weights, "load_weights"),
    ):
        save(tmp_path / name)
        with pytest.raises(ValueError, match=f"{hint}.*Received: path="):
            open_checkpoint(tmp_path / name)


def test_a_header_may_be_as_long_as_a_pickle_begins(tmp_path):
    """Its length stands in front, and 0x80 begins a pickle, "PK" a zip."""
    for length in (0x280, int.from_bytes(b"PK", "little")):
        path = tmp_path / f"{length}"
        text = b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        text += b" " * (length - len(text))
        head = length.to_bytes(8, "little")
        path.write_bytes(head + text + np.float32(1.5).tobytes())
        with open_checkpoint(path) as checkpoint:
            assert checkpoint["x"].tolist() == [1.5]


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        open_checkpoint(tmp_path / "nowhere.ckpt")
    tf1(tmp_path)
    with pytest.raises(FileNotFoundError, match="model$"):
        open_checkpoint(tmp_path / "model")


def test_a_damaged_index_beside_the_prefix_is_named(tmp_path):
    path = tf1(tmp_path)
    index = tmp_path / "model.ckpt.index"
    index.write_bytes(index.read_bytes()[:-1])
    with pytest.raises(ValueError, match="Not a whole index .*model.ckpt$"):
        open_checkpoint(path)


def test_a_folder_must_hold_one(tmp_path):
    with pytest.raises(ValueError, match="without a checkpoint. Received: pa"):
        open_checkpoint(tmp_path)
    tf1(tmp_path)
    safetensors(tmp_path)
    with pytest.raises(ValueError, match=r"one checkpoint.*index', 'model.saf"):
        open_checkpoint(tmp_path)
    sharded(tmp_path)
    with open_checkpoint(tmp_path) as checkpoint:  # its index says what is in
        assert checkpoint.format == "safetensors"


@pytest.mark.data
def test_real_checkpoints_are_told_apart():
    folder = pathlib.Path(os.environ["SU_MODELS_DATA"]) / "ckpt"
    for name, kind in (
        ("keras_bert_toy", "tf1"),
        ("keras_gpt2_toy", "tf1"),
        ("bert_wwm_index_only", "tf1"),
        ("albert_tiny_zh_index_only", "tf1"),
        ("stories260K", "llama2.c"),
    ):
        with open_checkpoint(folder / name) as checkpoint:
            assert checkpoint.format == kind


@pytest.mark.data
def test_a_real_model_of_keras_2_is_refused(tmp_path):
    folder = pathlib.Path(os.environ["SU_MODELS_DATA"]) / "ckpt"
    path = shutil.copy(folder / "keras_bert_toy" / "test_bert_fit.h5", tmp_path)
    with pytest.raises(ValueError, match="HDF5"):
        open_checkpoint(path)
