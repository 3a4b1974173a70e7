"""Metrics of a model that writes quatrains, and of its quatrains."""

import keras
import numpy as np
from keras import ops

from su_models.backend.compile import compiled
from su_models.tasks.quatrain_form import lines_of, rhymes


def perplexities(model, examples, marks, batch_size):
    """Returns the perplexities of poems, floats by name.

    Args:
        model: a UniLM that returns logits.
        examples: `((ids, segments), targets)`, int32 `(n, length)` each;
            targets of 0 are ignored.
        marks: ids of the punctuation marks and of the end.
        batch_size: int. Number of poems that are computed at once.

    Returns:
        A dict: `"perplexity"` per token, and `"character_perplexity"` without
        the marks.
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
    losses = np.concatenate(made)[: len(ids)]  # (n, length)
    every = targets > 0
    characters = every & ~np.isin(targets, marks)
    return {
        "perplexity": np.exp(losses[every].mean()),
        "character_perplexity": np.exp(losses[characters].mean()),
    }


def shares(poems, training_poems, numbers=None):
    """Returns how many poems keep the form, and how many lines are copied.

    Args:
        poems: dict from endings of names to lists of str. The ending `""` is
            for constrained poems, `"_of_real"` for quatrains of the data.
        training_poems: list of quatrains.
        numbers: optional dict from characters to the numbers of their rhymes.

    Returns:
        A dict of floats, the shares of poems `"form_share" + ending` with
        lines of the right lengths, and `"rhyme_share" + ending` that also
        rhyme, if there are `numbers`; and `"copied_line_share" + ending`, the
        share of all lines that are in the training poems.
    """
    figures = {}
    known = {line for poem in training_poems for line in lines_of(poem)}
    for ending, made in poems.items():
        found = [lines_of(poem) for poem in made]
        figures[f"form_share{ending}"] = np.mean([x is not None for x in found])
        if numbers is not None:
            rhyming = [rhymes(poem, numbers) for poem in made]
            figures[f"rhyme_share{ending}"] = np.mean(rhyming)
        copied = [line in known for lines in found for line in lines or ()]
        share = np.mean(copied) if copied else 0.0
        figures[f"copied_line_share{ending}"] = share
    return figures
