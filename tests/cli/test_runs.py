import numpy as np
import pytest
from matplotlib import image as image_files
from typer.testing import CliRunner

from su_models.cli.main import app
from su_models.tasks import image_diffusion
from su_models.tasks.image_diffusion import ImageDiffusion

TINY = {
    "steps": 4,
    "steps_per_epoch": 2,
    "batch_size": 8,
    "blocks": 1,
    "stride": 500,
}


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        runs = {"ddpm-digits": ImageDiffusion(**TINY)}
        patch.setattr(image_diffusion, "RUNS", runs)
        result = run("train", "ddpm-digits", "--output", folder, "--seed", 4)
    assert result.exit_code == 0, result.output
    return folder, result.output


def test_train_leaves_network_and_pictures_and_says_so(trained):
    folder, output = trained
    for name in ("model.keras", "samples.png", "training.png", "config.json"):
        assert (folder / name).exists() and name in output
    assert "4/4" in output  # the bar
    assert image_diffusion.read_config(folder).seed == 4


def test_steps_shorten_the_training(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(ImageDiffusion, "train", lambda c, f: seen.append(c))
    monkeypatch.setattr(image_diffusion, "draw_training", lambda f: None)
    monkeypatch.setattr(ImageDiffusion, "draw", lambda *a, **k: None)
    for steps in (400, 50, 450, 201):
        (tmp_path / "run").mkdir(exist_ok=True)
        result = run(
            "train", "ddpm-digits", "--steps", steps, "--output", tmp_path
        )
        assert result.exit_code == 0, result.output
    assert [(c.steps, c.steps_per_epoch) for c in seen] == [
        (400, 200),
        (50, 50),
        (450, 150),
        (201, 67),
    ]


def test_an_interrupted_train_says_how_to_go_on(tmp_path, monkeypatch):
    def interrupted(config, folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(ImageDiffusion, "train", interrupted)
    result = run("train", "ddpm-digits", "--output", tmp_path)
    assert result.exit_code == 130 and "goes on from here" in result.output


def test_same_seed_draws_the_same_picture(trained, tmp_path):
    pictures = []
    for seed, name in ((3, "a.png"), (3, "b.png"), (4, "c.png")):
        path = tmp_path / name
        result = run(
            "sample", trained[0], "--number", 7, "--seed", seed,
            "--output", path,
        )  # fmt: skip
        assert result.exit_code == 0 and name in result.output
        pictures.append(image_files.imread(path))
    assert pictures[0].shape == (3 * 34, 3 * 34, 4)  # 7 in rows of 3
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert (pictures[0] != pictures[2]).any()


def test_numbers_are_saved_as_an_array(trained, tmp_path):
    path = tmp_path / "digits.npy"
    assert run("sample", trained[0], "--number", 5, "--output", path)
    images = np.load(path)
    assert images.shape == (5, 8, 8, 1) and np.isfinite(images).all()


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (("train", "ddpm-digit"), 2, "Did you mean ddpm-digits?"),
        (("train", "ddpm-digits", "--steps", 0), 1, "Received: steps=0"),
        (("sample", "nowhere"), 1, "no config.json. Received: "),
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


@pytest.mark.parametrize("name", ["digits.jpg", "nowhere/digits.png"])
def test_output_that_cannot_be_written_is_refused(trained, tmp_path, name):
    result = run("sample", trained[0], "--output", tmp_path / name)
    assert result.exit_code == 1 and "Received: " in result.stderr


def test_a_folder_that_is_a_file_is_refused_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("train", "ddpm-digits", "--output", tmp_path / "file" / "run")
    assert result.exit_code == 1 and "file" in result.stderr


def test_damaged_networks_are_refused(trained, tmp_path):
    config = (trained[0] / "config.json").read_text()
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "model.keras").write_bytes(b"PK broken")
    result = run("sample", tmp_path)
    assert result.exit_code == 1 and "damaged. Received: " in result.stderr


def test_a_training_of_one_epoch_is_drawn_too(tmp_path, monkeypatch):
    runs = {"ddpm-digits": ImageDiffusion(**TINY)}
    monkeypatch.setattr(image_diffusion, "RUNS", runs)
    command = "train", "ddpm-digits", "--steps", 1, "--output", tmp_path
    for _ in range(2):  # the second finds it done
        result = run(*command)
        assert result.exit_code == 0, result.output
    assert (tmp_path / "training.png").exists()


def test_help_names_the_default_places():
    for command, place in (
        ("train", "runs/NAME"),
        ("sample", "samples-SEED.png"),
        ("export", "saved_model"),
    ):
        assert place in run(command, "--help").output


def test_divergence_is_one_readable_line(tmp_path, monkeypatch):
    runs = {"ddpm-digits": ImageDiffusion(**TINY, learning_rate=1e36)}
    monkeypatch.setattr(image_diffusion, "RUNS", runs)
    result = run("train", "ddpm-digits", "--output", tmp_path)
    assert result.exit_code == 1
    assert "Received: learning_rate=1e+36" in result.stderr
