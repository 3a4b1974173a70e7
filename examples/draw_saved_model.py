"""Draws with the SavedModel of a run; needs only TensorFlow.

python examples/draw_saved_model.py runs/ddpm-digits

Writes samples_from_saved_model.png to the folder of the run, and compares it
with samples.png, which the library drew with the same seed.
"""

import pathlib
import sys

import tensorflow as tf

SEED = 0


def main(folder):
    """Draws samples and compares them with those of the library."""
    model = tf.saved_model.load(str(folder / "saved_model"))
    picture = model.draw(tf.constant(SEED))
    drawn = folder / "samples_from_saved_model.png"
    tf.io.write_file(str(drawn), tf.io.encode_png(picture))
    channels = picture.shape[-1]  # grey images are RGB in samples.png
    first = (folder / "samples.png").read_bytes()
    first = tf.io.decode_png(first, channels=3)[..., :channels]
    different = tf.math.count_nonzero(first != picture).numpy()
    print(f"Drew {drawn} with TensorFlow alone.")
    if different:
        sys.exit(f"It differs from samples.png in {different} values.")
    print("It equals samples.png, pixel by pixel.")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
