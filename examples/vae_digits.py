"""A VAE that generates digits, from the data to a SavedModel.

Article: https://kexue.fm/archives/5253
    《变分自编码器（一）：原来是这么一回事》

Data: UCI digits of scikit-learn, 8x8; 1200 to train on, 597 held out.

python examples/vae_digits.py
python examples/vae_digits.py --smoke    (a few steps, in a separate folder)

Measured on 2026-11-30 by the first command, seed 0, on two shared cores of an
AMD EPYC, TensorFlow 2.21, under other load: 86 s of training, 103 s in all. The
results of `ddpm_digits.py` are in brackets.

    share of confident samples / of real digits       0.806  (0.857)
    smallest and largest share of a class             7.1 %, 17.3 %
    Fréchet distance / of two real halves             6.723  (1.995)
    nearest training digit / of held-out digits       1.021  (1.070)
    held-out loss: error and divergence               8.84 + 8.07

The reconstructions are hard to distinguish from the digits; the samples are
blurred, since they are means of normal pixels.
"""

import argparse
import dataclasses
import pathlib
import sys

import keras

from su_models.export import export_saved_model
from su_models.runs import draw_run, evaluate_run
from su_models.tasks import find_task

FOLDER = pathlib.Path("runs/vae-digits")
TASK = find_task("vae-digits")  # as in `su-models train vae-digits`


def main():
    """Trains, samples, evaluates and exports."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="a few steps")
    task, folder, number = TASK, FOLDER, None
    if parser.parse_args().smoke:
        task = dataclasses.replace(TASK, steps=20, steps_per_epoch=10)
        folder, number = FOLDER.with_name("smoke-vae-digits"), 60

    vae = task.train(folder)
    draw_run(task, vae, folder)
    figures = evaluate_run(task, vae, folder, number=number)
    for name, value in figures.items():
        print(f"{name:28}{value:8.3f}")
    if keras.backend.backend() == "tensorflow":
        export_saved_model(vae, folder / "saved_model", task.endpoints(vae))
    print(f"In {folder}/: samples.png, reconstructions.png, training.png ...")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError, FloatingPointError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. The same command resumes the training.")
