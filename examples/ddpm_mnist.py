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
import pathlib
import sys

from su_models.runs import draw_run, evaluate_run
from su_models.tasks import find_task

FOLDER = pathlib.Path("runs/ddpm-mnist")
TASK = find_task("ddpm-mnist")  # `su-models train ddpm-mnist` trains the same
SEED = 0  # of the picture
SHOWN = (
    "judge_accuracy",
    "confident_share",
    "confident_share_of_real",
    "smallest_class_share",
    "largest_class_share",
)


def main():
    """Trains, draws, judges."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="a few steps")
    task, folder, number, columns = TASK, FOLDER, None, 10
    if parser.parse_args().smoke:
        task = dataclasses.replace(
            TASK, steps=4, steps_per_epoch=2, batch_size=8, stride=200
        )
        folder, number, columns = FOLDER.with_name("smoke-ddpm-mnist"), 10, 2

    network = task.train(folder)
    draw_run(task, network, folder, SEED, columns=columns)
    figures = evaluate_run(task, network, folder, number=number)
    for name in SHOWN:
        print(f"{name:26}{figures[name]:8.3f}")
    print(f"In {folder}/: samples.png (left: samples, right: real digits)")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. The same command goes on from here.")
