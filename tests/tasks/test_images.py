import numpy as np
import pytest
from keras import ops

from su_models.models import build_vae
from su_models.tasks import ImageVAE, find_task
from su_models.tasks.image_judge import judge_of
from su_models.tasks.images import ImageTask


@pytest.fixture(scope="module")
def trained():
    """A task and a model; that nothing is trained does not matter."""
    return ImageVAE(width=8), build_vae((8, 8, 1), 10, (8,), seed=0)


def test_images_are_scaled_to_the_range():
    digits = ImageTask().images()
    assert digits.min() == -1 and digits.max() == 1
    assert digits.shape == (1200, 8, 8, 1) and digits.dtype == "float32"
    assert len(ImageTask().images("test")) == 597


def test_picture_shows_samples_beside_real_images(trained):
    task, model = trained
    pixels = ops.convert_to_numpy(task.pictures(model, 3, columns=4)["samples"])
    assert pixels.shape == (4 * 34, 4 * 34 * 2 + 16, 1)
    real, made = task.images(), task.sample(model, 16, seed=3)
    for images, left in ((made, 1), (real, 4 * 34 + 17)):
        shown = pixels[1:33:4, left : left + 32 : 4, 0]  # the first image
        expected = (np.clip(images[0, ..., 0], -1, 1) + 1) * 127.5
        np.testing.assert_allclose(shown, expected, atol=1)


def test_endpoints_give_the_same(trained):
    task, model = trained
    endpoints = task.endpoints(model, columns=4)
    assert [spec.name for spec in endpoints["draw"].input_signature] == ["seed"]
    drawn = ops.convert_to_numpy(endpoints["draw"](3))
    picture = task.pictures(model, 3, columns=4)["samples"]
    np.testing.assert_array_equal(drawn, ops.convert_to_numpy(picture))
    made = ops.convert_to_numpy(endpoints["sample"](3, 5))
    np.testing.assert_allclose(made, task.sample(model, 5, 3), atol=1e-6)


def test_the_judge_of_the_data_evaluates(trained):
    task, model = trained
    samples = task.sample(model, 1000, 0)
    figures = ImageTask.evaluate(task, model)
    assert figures == judge_of("digits")(samples)


@pytest.mark.parametrize(
    "images, match",
    [
        (np.zeros((4, 9, 9, 1), "float32"), r"Received: shape=\(4, 9, 9, 1\)"),
        (np.zeros((0, 8, 8, 1), "float32"), r"Received: shape=\(0, 8, 8, 1\)"),
        (np.zeros((4, 8, 8, 1), "uint8"), "Received: dtype=uint8"),
        (np.full((4, 8, 8, 1), 255.0), "largest=255"),
        (np.full((1, 8, 8, 1), np.nan), "Received: 64 of 64 entries"),
        (np.full((1, 8, 8, 1), np.inf), "Received: 64 of 64 entries"),
        ("images", r"Received: shape=\(\)"),
    ],
)
def test_images_that_do_not_fit_are_refused_before_training(
    trained, tmp_path, images, match
):
    with pytest.raises(ValueError, match=match):
        trained[0].train(tmp_path / "run", images, progress=False)
    assert not (tmp_path / "run").exists()


def test_data_that_are_no_images_are_refused():
    with pytest.raises(ValueError, match="Received: data='minst'"):
        ImageTask(data="minst")


def test_sentences_are_no_images():
    with pytest.raises(ValueError, match="set of images. Received: data=ptb"):
        ImageTask(data="ptb")


def test_the_named_runs_are_of_sets_of_images():
    for name in ("ddpm-digits", "ddpm-mnist", "vae-digits"):
        assert isinstance(find_task(name), ImageTask)
