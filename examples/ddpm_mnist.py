"""A DDPM on MNIST: a U-Net on 28x28 pixels, in half an hour.

Article: https://kexue.fm/archives/9152
    《生成扩散模型漫谈（二）：DDPM = 自回归式VAE》

Data: MNIST, 60 000 images, under $SU_MODELS_DATA/mnist or downloaded.

python examples/ddpm_mnist.py
python examples/ddpm_mnist.py --smoke    (a few steps on a few images)

Measured on 2026-11-21 by the first command, seed 0, on a shared 2-core Xeon
(AVX-512), TensorFlow 2.21, half loaded with other work: 1915 s for 5000 steps,
five epochs. Most samples look like digits, some are strokes that resemble
them. The classifier (91.0 % correct on test images) is confident about 25.8 %
of the samples and 59.8 % of real digits; its classes have 6.0 % to 12.8 % of
the samples. Without fresh noise (η = 0) it is confident about 24.2 %, and
after 2000 steps about 3.4 %. For a longer training, which was not run, use
`su-models train ddpm-mnist --steps 20000 --output runs/longer`.
"""

import argparse
import dataclasses
import pathlib
import sys

from su_models.runs import draw_run, evaluate_run
from su_models.tasks import find_task

FOLDER = pathlib.Path("runs/ddpm-mnist")
TASK = find_task("ddpm-mnist")  # as in `su-models train ddpm-mnist`
SEED = 0  # seed of the picture
SHOWN = (
    "judge_accuracy",
    "confident_share",
    "confident_share_of_real",
    "smallest_class_share",
    "largest_class_share",
)


def main():
    """Trains, samples and evaluates."""
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
        sys.exit("\nInterrupted. The same command resumes the training.")
