"""Cross-entropy of texts under a language model, and under frequencies."""

import keras
import numpy as np
from keras import ops

from su_models.backend.compile import compiled


def token_losses(model, examples, batch_size):
    """Returns the cross-entropy of each token, float32 `(n, length)`.

    Args:
        model: a UniLM that returns logits.
        examples: `((ids, segments), targets)`, int32 `(n, length)` each.
            Losses whose target is 0 have no meaning.
        batch_size: int. Number of rows that are computed at once.
    """
    (ids, segments), targets = examples

    def batch(ids, segments, targets):
        return keras.losses.sparse_categorical_crossentropy(
            targets, model([ids, segments], training=False), from_logits=True
        )

    run, made = compiled(batch, model.variables), []
    for start in range(0, len(ids), batch_size):
        # batches of one size need one program
        rows = np.arange(start, start + batch_size) % len(ids)
        parts = (x[rows] for x in (ids, segments, targets))
        made.append(ops.convert_to_numpy(run(*parts)))
    return np.concatenate(made)[: len(ids)]


def frequency_perplexity(train, test, size):
    """Returns the perplexity of targets by the frequencies of tokens.

    Each frequency is one more than the number of the token in `train`.

    Args:
        train, test: integer arrays of targets; 0 is ignored.
        size: int. Number of ids, including 0.
    """
    counts = np.bincount(train[train > 0], minlength=size) + 1
    p = counts[1:] / counts[1:].sum()
    return float(np.exp(-np.log(p[test[test > 0] - 1]).mean()))
