import numpy as np
import pytest
from typer.testing import CliRunner

from su_models.checkpoints import open_checkpoint, save_checkpoint
from su_models.cli.main import app
from tests.models.transformer.tiny import tiny


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def arrays_of(path):
    with open_checkpoint(path) as checkpoint:
        return dict(checkpoint)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    model = tiny("bert")
    save_checkpoint(model, folder / "bert")
    save_checkpoint(model, folder / "bert.safetensors")
    model.save(folder / "bert.keras")
    return folder


@pytest.mark.parametrize("source", ["bert", "bert.safetensors", "bert.keras"])
@pytest.mark.parametrize("target", ["bert", "bert.safetensors"])
def test_every_direction(source, target, folder, tmp_path):
    result = run("convert", folder / source, tmp_path / target)
    assert result.exit_code == 0, result.output
    assert str(tmp_path / target) in result.output.replace("\n", "")
    ours, expected = arrays_of(tmp_path / target), arrays_of(folder / target)
    assert {*ours} == {*expected}
    for name, array in expected.items():
        np.testing.assert_array_equal(ours[name], array)


def test_the_format_may_be_told(folder, tmp_path):
    target = tmp_path / "a"
    run("convert", folder / "bert", target, "--format", "safetensors")
    with open_checkpoint(target) as checkpoint:
        assert checkpoint.format == "safetensors"


def test_what_is_left_out_is_said(folder, tmp_path):
    tensors = arrays_of(folder / "bert")
    from su_models.checkpoints.tf1 import write_tf1

    tensors["task/kernel"] = np.ones(3, "float32")
    write_tf1(tmp_path / "a", {n: lambda a=a: a for n, a in tensors.items()})
    result = run("convert", tmp_path / "a", tmp_path / "b")
    assert "left out: 1 tensors: task/kernel" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--family", "bart"), "family='bart'"),
        (("--format", "torch"), "format='torch'"),
        (("--family", "gpt2"), "names of a family"),
    ],
)
def test_what_a_user_can_mend_is_one_line(options, message, folder, tmp_path):
    result = run("convert", folder / "bert", tmp_path / "a", *options)
    assert result.exit_code == 1
    assert message in result.stderr and result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_is_not_there_is_named(tmp_path):
    result = run("convert", tmp_path / "nowhere", tmp_path / "a")
    assert result.exit_code == 1 and "nowhere" in result.stderr
