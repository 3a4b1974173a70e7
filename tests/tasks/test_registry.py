import json

import pytest

from su_models.tasks import find_task, load_task, task_names
from su_models.tasks.registry import RUNS, TASKS


def test_every_run_is_of_a_registered_task():
    assert task_names() == [*RUNS]
    for task in RUNS.values():
        assert TASKS[task.task_name] is type(task)


@pytest.mark.parametrize("name", task_names())
def test_a_task_comes_back_from_its_settings(tmp_path, name):
    task = find_task(name)
    (tmp_path / "config.json").write_text(json.dumps(task.settings()))
    assert load_task(tmp_path) == task


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match="vae-digits. Received: name=vae-digt"):
        find_task("vae-digt")


def test_runs_of_version_0_1_are_diffusions(tmp_path):
    settings = find_task("ddpm-digits").settings()
    del settings["task"]
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert load_task(tmp_path) == find_task("ddpm-digits")


@pytest.mark.parametrize(
    "settings, match",
    [
        ({"task": "image-vea"}, "Did you mean image-vae"),
        ({"task": 3}, "unknown task 3"),
        ({"task": "image-vae", "stepz": 3}, "stepz"),
        ({"task": "image-vae", "steps": 0}, "steps=0"),
        ({"stepz": 3}, "stepz"),
        ([], "mapping"),
    ],
)
def test_settings_that_are_no_task_s_are_refused(tmp_path, settings, match):
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(
        ValueError, match=f"cannot be read. Received: .*config.json.*{match}"
    ):
        load_task(tmp_path)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no config.json. Received: folder="):
        load_task(tmp_path)
