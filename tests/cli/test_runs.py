import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from matplotlib import image as image_files
from typer.testing import CliRunner

from su_models.cli.catalog import PACKAGE
from su_models.cli.main import app
from su_models.models import build_vae
from su_models.runs import RunFolder
from su_models.tasks import (
    DialogueAnswering,
    ImageVAE,
    PoemWriting,
    load_task,
    registry,
)
from su_models.tasks.image_diffusion import ImageDiffusion
from tests.runs.line import Line, names


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(autouse=True)
def line(monkeypatch):
    """A small task among those that are known."""
    monkeypatch.setitem(registry.RUNS, "line", Line())
    monkeypatch.setitem(registry.TASKS, "line", Line)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run, its folder, and what was printed."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.RUNS, "line", Line())
        result = run("train", "line", "--output", folder, "--seed", 4)
    assert result.exit_code == 0, result.output
    return folder, result.output


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The folder of a run that draws images, hardly trained."""
    folder = tmp_path_factory.mktemp("runs") / "images"
    task = ImageVAE(width=8, depth=1)
    run = RunFolder(folder)
    with run.claimed(task.settings()):
        model = build_vae((8, 8, 1), 10, (8,), seed=0)
        run.finish(model, task.settings())
    return folder


# ---- train


def test_train_leaves_model_and_pictures_and_says_so(trained):
    folder, output = trained
    for name in ("model.keras", "grey.png", "training.png", "config.json"):
        assert (folder / name).exists() and name in output
    assert "6/6" in output  # the bar
    assert RunFolder(folder).settings()["seed"] == 4
    assert not [name for name in names(folder) if name.startswith(".")]


def test_settings_of_the_task_are_set(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Line, "train", lambda task, folder: seen.append(task))
    monkeypatch.setattr(Line, "pictures", lambda *arguments: {})
    command = "train", "line", "--output", tmp_path
    for words in (
        ("--steps", 9),
        ("--set", "width=5", "--set", "learning_rate=.5", "--seed", 3),
        (),
    ):
        result = run(*command, *words)
        assert result.exit_code == 0, result.output
    assert seen == [
        Line(steps=9, steps_per_epoch=1),
        Line(width=5, learning_rate=0.5, seed=3),
        Line(),
    ]


def test_a_folder_is_trained_with_its_settings(trained, tmp_path, monkeypatch):
    seen = []

    def train(task, folder):
        seen.append((task, str(folder)))

    monkeypatch.setattr(Line, "train", train)
    monkeypatch.setattr(Line, "pictures", lambda *arguments: {})
    assert run("train", trained[0]).exit_code == 0
    assert run("train", trained[0], "--output", tmp_path).exit_code == 0
    task = Line(seed=4)
    assert seen == [(task, str(trained[0])), (task, str(tmp_path))]


def test_an_interrupted_train_says_how_to_go_on(tmp_path, monkeypatch):
    def interrupted(task, folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(Line, "train", interrupted)
    result = run("train", "line", "--output", tmp_path)
    assert result.exit_code == 130 and "resumes the training" in result.output


def test_a_training_of_one_epoch_is_drawn_too(tmp_path):
    command = "train", "line", "--steps", 1, "--output", tmp_path
    for _ in range(2):  # the second finds it done
        result = run(*command)
        assert result.exit_code == 0, result.output
    assert (tmp_path / "training.png").exists()
    (tmp_path / "history.csv").unlink()
    assert run(*command).exit_code == 0


# ---- sample


def test_same_seed_draws_the_same_picture(images, tmp_path):
    pictures = []
    for seed, name in ((3, "a.png"), (3, "b.png"), (4, "c.png")):
        path = tmp_path / name
        result = run(
            "sample", images, "--number", 7, "--seed", seed,
            "--output", path,
        )  # fmt: skip
        assert result.exit_code == 0 and name in result.output
        pictures.append(image_files.imread(path))
    assert pictures[0].shape == (3 * 34, 3 * 34, 4)  # 7 in rows of 3
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert (pictures[0] != pictures[2]).any()


def test_numbers_are_saved_as_an_array(images, tmp_path):
    path = tmp_path / "digits.npy"
    assert run("sample", images, "--number", 5, "--output", path)
    made = np.load(path)
    assert made.shape == (5, 8, 8, 1) and np.isfinite(made).all()


def test_text_is_saved_line_by_line(trained):
    result = run("sample", trained[0], "--number", 3, "--seed", 5)
    assert result.exit_code == 0, result.output
    path = trained[0] / "samples-5.txt"
    assert path.read_text() == "word 5\nword 6\nword 7\n"
    assert str(path) in result.output
    path.unlink()


def test_a_name_stands_for_its_folder(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run("sample", "line")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no config.json. Received: folder=runs/line" in result.stderr
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "line").symlink_to(trained[0])
    result = run("sample", "line", "--output", "words.txt")
    assert result.exit_code == 0 and (tmp_path / "words.txt").exists()


# ---- evaluate


def test_figures_are_printed_and_written(trained):
    result = run("evaluate", trained[0])
    assert result.exit_code == 0, result.output
    metrics = json.loads((trained[0] / "metrics.json").read_text())
    (line,) = [x for x in result.stdout.splitlines() if x.startswith("error")]
    assert float(line.split()[1]) == metrics["error"]
    assert metrics["seed"] == 4


# ---- export


@pytest.mark.skipif(
    keras.config.backend() != "tensorflow", reason="exports from TensorFlow"
)
def test_exports_draw_by_themselves(images):
    import tensorflow as tf

    result = run("export", images)
    assert result.exit_code == 0, result.output
    model = tf.saved_model.load(str(images / "saved_model"))
    made = model.sample(tf.constant(3), tf.constant(5))
    task = load_task(images)
    expected = task.sample(RunFolder(images).load_model(), 5, seed=3)
    np.testing.assert_allclose(made, expected, atol=1e-6)
    picture = model.draw(tf.constant(0))
    assert picture.dtype == tf.uint8
    assert not [name for name in names(images) if name.startswith(".")]


# ---- mistakes


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (("train", "ddpm-digit"), 2, "Did you mean ddpm-digits?"),
        (("train", "vae-digts"), 2, "Did you mean vae-digits?"),
        (("train", "ddpm-digits", "--steps", 0), 1, "Received: steps=0"),
        (("train", "line", "--set", "widht=3"), 1, "Did you mean width?"),
        (("train", "line", "--set", "width"), 1, "Received: width"),
        (("train", "line", "--set", "seed=x"), 1, "Received: seed='x'"),
        (("train", "line", "--seed", -1), 1, "Received: seed=-1"),
        (("sample", "nowhere"), 1, "no config.json. Received: "),
        (("sample", "ddpm-digit"), 1, "ddpm-digits"),
        (("sample", "."), 1, "no config.json. Received: "),
        (("evaluate", "nowhere"), 1, "no config.json. Received: "),
        (("export", "nowhere"), 1, "no config.json. Received: "),
    ],
)
def test_mistakes_are_one_readable_line(
    arguments, code, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == code
    assert words in result.stderr and result.stderr.count("\n") == 1
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["digits.jpg", "nowhere/digits.png"])
def test_output_that_cannot_be_written_is_refused(images, tmp_path, name):
    result = run("sample", images, "--output", tmp_path / name)
    assert result.exit_code == 1 and "Received: " in result.stderr


def test_what_a_task_cannot_do_is_said(trained, monkeypatch):
    from su_models.tasks.base import Task

    for name in ("sample", "evaluate"):
        monkeypatch.setattr(Line, name, getattr(Task, name))
        result = run(name, trained[0])
        assert result.exit_code == 1
        assert result.stderr.startswith("su-models: The task line ")


def test_a_folder_that_is_a_file_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("train", "line", "--output", tmp_path / "file" / "run")
    assert result.exit_code == 1 and "file" in result.stderr


def test_a_folder_in_use_is_refused(trained, tmp_path):
    with RunFolder(tmp_path).held():
        result = run("train", "line", "--output", tmp_path)
    assert result.exit_code == 1
    assert "Another process is writing there. Received: " in result.stderr
    assert result.stderr.count("\n") == 1


def test_damaged_models_are_refused(trained, tmp_path):
    config = (trained[0] / "config.json").read_text()
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "model.keras").write_bytes(b"PK broken")
    for command in "sample", "evaluate", "export":
        result = run(command, tmp_path)
        assert result.exit_code == 1 and "damaged. Received: " in result.stderr


def test_untrained_runs_are_refused(trained, tmp_path):
    config = (trained[0] / "config.json").read_text()
    (tmp_path / "config.json").write_text(config)
    result = run("sample", tmp_path)
    assert result.exit_code == 1 and "train it first." in result.stderr


def test_divergence_is_one_readable_line(tmp_path, monkeypatch):
    result = run(
        "train", "line", "--output", tmp_path, "--set", "learning_rate=1e30"
    )
    assert result.exit_code == 1
    assert "Received: learning_rate=1e+30" in result.stderr


def test_help_names_the_default_places_and_what_there_is():
    for command, place in (
        ("train", "runs/NAME"),
        ("sample", "samples-SEED.png"),
        ("evaluate", "metrics.json"),
        ("export", "saved_model"),
    ):
        assert place in run(command, "--help").output
    known = registry.task_names()
    shown = run("train", "--help").output
    assert [name for name in known if name in shown and name != "line"]


def test_help_and_runs_name_classes_that_exist():
    for name, task in registry.RUNS.items():
        known = ImageDiffusion | ImageVAE | PoemWriting | DialogueAnswering
        assert isinstance(task, known | Line), name


FULL = """
import json, resource, sys
import keras
from typer.testing import CliRunner
from su_models.cli.main import app, main
from su_models.models import build_vae
from su_models.runs import RunFolder
from su_models.tasks import ImageVAE
task, folder = ImageVAE(width=8, depth=1), sys.argv[1] + "/done"
run = RunFolder(folder)
with run.claimed(task.settings()):
    run.finish(build_vae((8, 8, 1), 10, (8,), seed=0), task.settings())
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (9000, hard))
words = [["sample", folder, "--output", sys.argv[1] + "/a.npy"]]
if keras.config.backend() == "tensorflow":
    words.append(["export", folder])
for line in words:
    result = CliRunner().invoke(app, line)
    print(json.dumps([result.exit_code, result.stderr]))
sys.argv[1:] = ["train", "vae-digits", "--output", sys.argv[1] + "/new",
                "--steps", "1", "--set", "jit_compile=false"]
main()
"""


def test_a_full_disk_is_one_line_and_status_1(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=PACKAGE.parent,
    )
    assert done.returncode == 1, done.stderr  # no fault of HDF5 at exit
    said = [json.loads(x) for x in done.stdout.splitlines() if x[0] == "["]
    said.append([1, done.stderr.splitlines()[-1] + "\n"])
    files = ["a.npy", "saved_model", "backup.bin"]
    if keras.config.backend() != "tensorflow":
        files.remove("saved_model")
    for (code, words), file in zip(said, files, strict=True):
        assert code == 1 and file in words
        assert words.startswith("su-models: ") and words.count("\n") == 1
    assert names(tmp_path / "done") == ["config.json", "model.keras"]
    assert names(tmp_path / "new") == ["config.json", "history.csv"]
    assert names(tmp_path) == ["done", "new"]
