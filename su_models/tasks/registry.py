"""Registry of the tasks and of the named runs.

To add a task, define a class and its `RUNS` in a module of this folder, and
add them here.
"""

from su_models.runs.run_folder import RunFolder
from su_models.tasks.image_diffusion import RUNS as DIFFUSIONS
from su_models.tasks.image_vae import RUNS as VAES
from su_models.tasks.poem_writing import RUNS as POEMS
from su_models.utils.nearest import nearest

RUNS = {**DIFFUSIONS, **VAES, **POEMS}
TASKS = {type(task).task_name: type(task) for task in RUNS.values()}


def task_names():
    """Returns the names of the runs that can be trained, in a list.

    Example:

    >>> from su_models.tasks import task_names
    >>> task_names()
    ['ddpm-digits', 'ddpm-mnist', 'vae-digits', 'poem-unilm']
    """
    return list(RUNS)


def find_task(name):
    """Returns the task of a named run, with its settings.

    Args:
        name: one of `task_names()`.

    Raises:
        ValueError: if the name is unknown; the message suggests the nearest.

    Example:

    >>> from su_models.tasks import find_task
    >>> find_task("ddpm-digits").steps
    8000
    """
    if name not in RUNS:
        raise ValueError(
            f"`name` must be one of {', '.join(RUNS)}. Did you mean "
            f"{nearest(str(name), RUNS)}? Received: name={name}"
        )
    return RUNS[name]


def load_task(folder):
    """Returns the task of a run folder, with the settings of the run.

    Args:
        folder: folder of a run.

    Raises:
        ValueError: if the folder is not a run, or its `config.json` is
            damaged or names an unknown task.
    """
    run = RunFolder(folder)
    settings = run.settings()
    name = settings.pop("task")
    try:
        if name not in TASKS:
            guess = nearest(str(name), TASKS)
            raise ValueError(f"unknown task {name}. Did you mean {guess}?")
        return TASKS[name](**settings)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"The settings of the run cannot be read. Received: {run.config} "
            f"({error})"
        ) from error
