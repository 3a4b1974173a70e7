"""Invented quatrains, and a task so small that it writes them at once."""

import numpy as np

from su_models.tasks import PoemWriting, quatrains

LETTERS = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏"


def poem(random, length):
    """Returns a text with the form of a quatrain."""
    lines = ["".join(random.choice([*LETTERS], length)) for _ in range(4)]
    return "{}，{}。{}，{}。".format(*lines)


def invented(count=60, seed=0):
    """Returns a data set like `chinese_poetry`, a dict of splits."""
    random = np.random.default_rng(seed)
    texts = [poem(random, 5 + 2 * (i % 2)) for i in range(count)]
    texts[3] = texts[1] + texts[2]  # no poem of lines of one length
    texts[4] = poem(random, 7) + poem(random, 7)  # of eight lines
    titles = ["".join(random.choice([*LETTERS], 3)) for _ in texts]
    collections = ["song_ci" if i == 5 else "tang" for i in range(count)]
    columns = {"text": texts, "title": titles, "collection": collections}
    return {"all": columns}


def use(patch):
    """Makes the invented poems those of the tasks."""
    quatrains.load_quatrains.cache_clear()
    patch.setattr(quatrains, "load", lambda name: invented())
    patch.setattr(quatrains, "simplifier", lambda: list)


def numbers(characters):
    """Stands for `rhyme_numbers`: three rhymes, as the code points are."""
    return [1 + ord(c) % 3 if c in [*LETTERS] else 0 for c in characters]


def tiny(**more):
    sizes = {
        "steps": 4,
        "steps_per_epoch": 2,
        "batch_size": 8,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "title_length": 4,
        "min_count": 1,
        "jit_compile": False,
    }
    return PoemWriting(**{**sizes, **more})
