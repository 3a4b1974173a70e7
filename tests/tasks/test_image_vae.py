"""Article: https://kexue.fm/archives/5253"""

import numpy as np
import pytest
from keras import ops

from su_models.runs import RunFolder
from su_models.tasks import ImageVAE, load_task
from tests.runs.line import assert_equal, names


def tiny(**more):
    sizes = {"steps": 4, "steps_per_epoch": 2, "batch_size": 16, "width": 16}
    return ImageVAE(**{**sizes, **more})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    return folder, tiny().train(folder, progress=False)


def test_a_run_leaves_its_files(run):
    folder, model = run
    assert names(folder) == ["config.json", "history.csv", "model.keras"]
    assert load_task(folder) == tiny()
    assert_equal(RunFolder(folder).load_model(), model)


def test_samples_are_decoded_normal_codes(run):
    task, model = tiny(), run[1]
    few, many = (task.sample(model, n, seed=3) for n in (3, 150))
    np.testing.assert_array_equal(few, many[:3])
    assert many.shape == (150, 8, 8, 1) and np.isfinite(many).all()
    assert len({image.tobytes() for image in many}) == 150
    assert (task.sample(model, 3, seed=4) != few).any()
    # of many the mean is that of decoded N(0, I)
    codes = np.random.default_rng(0).normal(size=(4000, 10)).astype("float32")
    expected = model.get_layer("decoder").predict(codes, verbose=0)
    drawn = task.sample(model, 4000, seed=0)
    spread = expected.std(axis=0) / np.sqrt(2000) + 1e-6
    assert (np.abs(drawn.mean(0) - expected.mean(0)) < 5 * spread).all()


def test_pictures_show_reconstructions_of_held_out_images(run):
    task, model = tiny(), run[1]
    pictures = task.pictures(model, 0, columns=4)
    assert [*pictures] == ["samples", "reconstructions"]
    real = task.images("test")[:16]
    mean, _ = model.get_layer("encoder").predict(real, verbose=0)
    made = model.get_layer("decoder").predict(mean, verbose=0)
    pixels = ops.convert_to_numpy(pictures["reconstructions"])
    for images, left in ((made, 1), (real, 4 * 34 + 17)):
        shown = pixels[1:33:4, left : left + 32 : 4, 0]
        expected = (np.clip(images[0, ..., 0], -1, 1) + 1) * 127.5
        np.testing.assert_allclose(shown, expected, atol=1)


def test_held_out_loss_is_that_of_a_loop(run):
    task, model = tiny(), run[1]
    figures = task.evaluate(model)
    assert figures == task.evaluate(model)
    x = task.images("test").astype("float64")
    mean, log_variance = (
        y.astype("float64")
        for y in model.get_layer("encoder").predict(x, verbose=0)
    )
    kl = 0.0
    for m, v in zip(mean.ravel(), log_variance.ravel(), strict=True):
        kl += 0.5 * (m**2 + np.exp(v) - v - 1) / len(x)  # Eq. (5)
    assert figures["held_out_divergence"] == pytest.approx(kl, rel=1e-4)
    errors = []
    for seed in range(20):  # the mean over many codes
        noise = np.random.default_rng(100 + seed).normal(size=mean.shape)
        z = mean + np.exp(log_variance / 2) * noise
        made = model.get_layer("decoder").predict(z, verbose=0)
        errors.append(((x - made) ** 2).sum() / len(x) / (2 * 0.5**2))
    low, high = np.mean(errors) + np.array([-6, 6]) * np.std(errors)
    assert low < figures["held_out_error"] < high
    total = figures["held_out_error"] + figures["held_out_divergence"]
    assert figures["held_out_loss"] == pytest.approx(total)
    assert "frechet_ratio" in figures


@pytest.mark.parametrize(
    "field, value",
    [
        ("latent_dim", 0),
        ("width", 1.5),
        ("depth", 0),
        ("stddev", 0.0),
        ("ema_momentum", 1),
        ("data", "minst"),
    ],
)
def test_bad_settings_are_refused_at_once(field, value):
    with pytest.raises(ValueError, match=f"Received: {field}={value!r}"):
        tiny(**{field: value})


@pytest.mark.slow
def test_it_learns_the_digits(tmp_path):
    task = ImageVAE(steps=600, steps_per_epoch=200)
    figures = task.evaluate(task.train(tmp_path, progress=False))
    untrained = task.evaluate(task.build())
    assert figures["held_out_loss"] < 0.5 * untrained["held_out_loss"]
    assert figures["held_out_divergence"] > 1  # the code says something
    assert figures["frechet_ratio"] < 0.2 * untrained["frechet_ratio"]
