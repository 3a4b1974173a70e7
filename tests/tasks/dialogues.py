"""Invented dialogues, and a task so small that it is trained at once."""

import numpy as np

from su_models.tasks import DialogueAnswering, dialogues

PLACES = "家店校院馆车船楼"


def invented(count=40, seed=0):
    """Returns a data set like `c3`: who goes where."""
    random = np.random.default_rng(seed)
    columns = {
        name: []
        for name in ("context", "question", "answer", "choices", "kind")
    }
    for i in range(count):
        here, there = random.choice([*PLACES], 2, replace=False)
        columns["context"].append(f"男：我去{here}，{i}点。\n女：我去{there}?")
        columns["question"].append("女的去哪？")
        columns["answer"].append(there)
        columns["choices"].append([here, there])
        columns["kind"].append("mixed" if i % 4 == 3 else "dialogue")
    return columns


def use(patch):
    """Makes the invented dialogues those of the task."""
    dialogues.load_dialogues.cache_clear()
    splits = {
        name: invented(seed=i)
        for i, name in enumerate(("train", "valid", "test"))
    }
    patch.setattr(dialogues, "load", lambda name: splits)


def tiny(**more):
    sizes = {
        "steps": 4,
        "steps_per_epoch": 2,
        "batch_size": 8,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "prompt_length": 32,
        "answer_length": 4,
        "min_count": 1,
        "jit_compile": False,
    }
    return DialogueAnswering(**{**sizes, **more})
