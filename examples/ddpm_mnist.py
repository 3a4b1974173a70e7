"""A DDPM on MNIST: a U-Net on 28x28 pixels, in half an hour.

Article: https://kexue.fm/archives/9152
    《生成扩散模型漫谈（二）：DDPM = 自回归式VAE》

Data: MNIST, 60 000 images, under $SU_MODELS_DATA/mnist or downloaded.

python examples/ddpm_mnist.py
python examples/ddpm_mnist.py --smoke    (a few steps on a few images)

Measured on 2026-11-21 by the first command, seed 0, on a shared 2-core Xeon
(AVX-512), TensorFlow 2.21, while other work took about half of it: 1915 s for
5000 steps, five passes over the data. Most samples are digits to the eye, some
are strokes that might be. The judge (91.0 % right on test images) is sure of
25.8 % of the samples and of 59.8 % of real digits; its classes have 6.0 % to
12.8 % of the samples. Without fresh noise (η = 0) it is sure of 24.2 %. With
2000 steps it was sure of 3.4 %. Longer: `su-models train ddpm-mnist --steps
20000 --output runs/longer`, which was not run.
"""

import argparse
import dataclasses
import datetime
import json
import pathlib
import sys

import numpy as np
from sklearn.linear_model import LogisticRegression

from su_models.data import load
from su_models.tasks.image_diffusion import (
    RUNS,
    draw_training,
    history,
    scaled,
)
from su_models.utils.files import replacing

FOLDER = pathlib.Path("runs/ddpm-mnist")
CONFIG = RUNS["ddpm-mnist"]  # `su-models train ddpm-mnist` trains the same
NUM_SAMPLES = 500  # that are judged
SEED = 0


def judge(samples, train, test):
    """How sure a linear classifier is of the samples, and of real digits.

    Logistic regression on 10 000 training images: weak, but it has seen no
    sample. Returns its accuracy, the shares it is sure of, and the smallest
    and the largest share of a class among the samples.
    """
    classifier = LogisticRegression(C=0.01, max_iter=1000)
    classifier.fit(flat(train["x"][:10_000]), train["y"][:10_000])
    made = classifier.predict_proba(samples.reshape(len(samples), -1))
    real = classifier.predict_proba(flat(test["x"]))
    shares = np.bincount(made.argmax(axis=1), minlength=10) / len(samples)
    return {
        "judge_accuracy": (real.argmax(axis=1) == test["y"]).mean(),
        "confident_share": (made.max(axis=1) >= 0.9).mean(),
        "confident_share_of_real": (real.max(axis=1) >= 0.9).mean(),
        "smallest_class_share": shares.min(),
        "largest_class_share": shares.max(),
    }


def flat(images):
    """Returns one row an image, scaled to -1 ... 1."""
    return scaled(images).reshape(len(images), -1)


def main():
    """Trains, draws, judges, exports."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="a few steps")
    smoke = parser.parse_args().smoke
    config, folder, num_samples = CONFIG, FOLDER, NUM_SAMPLES
    columns = 10
    if smoke:
        config = dataclasses.replace(
            CONFIG, steps=4, steps_per_epoch=2, batch_size=8, stride=200
        )
        folder, num_samples = FOLDER.with_name("smoke-ddpm-mnist"), 10
        columns = 2
    mnist = load("mnist")

    # === Training ===
    network = config.train(folder)
    draw_training(folder)

    # === Samples ===
    config.draw(network, folder / "samples.png", SEED, columns)
    images = config.sampler.sample(
        network, num_samples, SEED, batch_size=100, progress=True
    )
    figures = judge(images, mnist["train"], mnist["test"])
    metrics = {
        **{name: round(float(value), 4) for name, value in figures.items()},
        "parameters": network.count_params(),
        "steps": config.steps,
        "training_seconds": float(history(folder)[2][-1]),
        "seed": config.seed,
        "date": datetime.date.today().isoformat(),
    }
    with replacing(folder / "metrics.json") as new:
        new.write_text(json.dumps(metrics, indent=2) + "\n", "utf-8")
    for name, value in figures.items():
        print(f"{name:26}{value:8.3f}")
    print(f"In {folder}/: samples.png (left: samples, right: real digits)")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. The same command goes on from here.")
