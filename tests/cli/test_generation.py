import dataclasses
import warnings
from typing import ClassVar

import pytest
from typer.testing import CliRunner

from su_models.cli.main import app
from su_models.runs import RunFolder
from su_models.tasks import load_task, poem_writing, registry
from su_models.tasks.quatrain_form import lines_of
from su_models.tasks.quatrains import load_quatrains
from tests.runs.line import Line, names
from tests.tasks.poems import numbers, tiny, use


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parrot(Line):
    """Repeats prompts, letter by letter."""

    task_name: ClassVar[str] = "parrot"
    generate_options: ClassVar[tuple[str, ...]] = (
        *("seed", "top_p", "top_k", "temperature", "beam_size"),
        *("max_new_tokens", "louder"),
    )

    def generate(self, model, texts, *, stream=None, progress=False, **options):
        if "silent" in texts:
            raise ValueError("the scores are NaN")
        if options.get("seed") == 13:
            warnings.warn("a parrot may bite", stacklevel=1)
        made = [f"{text}\n{sorted(options.items())}" for text in texts]
        if stream is not None:
            for letter in made[0]:
                stream([letter])
                if letter == "!":
                    raise ValueError("the scores are NaN")
        for done in range(len(texts)):
            if progress:
                progress(done + 1, len(texts))
        return made


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(autouse=True)
def _tasks(monkeypatch):
    for task in (Line(), Parrot()):
        monkeypatch.setitem(registry.RUNS, task.task_name, task)
        monkeypatch.setitem(registry.TASKS, task.task_name, type(task))


def finished(folder, task):
    run = RunFolder(folder)
    with run.claimed(task.settings()):
        run.finish(task.build(), task.settings())
    return folder


@pytest.fixture(scope="module")
def parrot(tmp_path_factory):
    """The folder of a run that writes text."""
    return finished(tmp_path_factory.mktemp("runs") / "parrot", Parrot())


@pytest.fixture(scope="module")
def poems(tmp_path_factory):
    """The folder of a run that writes poems, untrained."""
    with pytest.MonkeyPatch.context() as patch:
        use(patch)
        folder = finished(tmp_path_factory.mktemp("runs") / "poems", tiny())
    load_quatrains.cache_clear()
    return folder


@pytest.fixture
def rhyming(monkeypatch):
    poem_writing._numbers_of.cache_clear()
    monkeypatch.setattr(poem_writing, "rhyme_numbers", numbers)
    yield
    poem_writing._numbers_of.cache_clear()


# ---- one text


def test_a_text_is_streamed(parrot):
    result = run("generate", parrot, "hello")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "hello\n[]\n"


def test_options_are_passed_on(parrot):
    result = run(
        *("generate", parrot, "hi", "--seed", 3, "--top-p", 0.5, "--top-k", 4),
        *("--temperature", 2, "--max-new-tokens", 9, "--set", "louder=true"),
    )
    options = {
        "louder": True,
        "max_new_tokens": 9,
        "seed": 3,
        "temperature": 2.0,
        "top_k": 4,
        "top_p": 0.5,
    }
    assert result.stdout == f"hi\n{list(options.items())}\n"


def test_a_beam_search_is_printed_at_its_end(parrot):
    result = run("generate", parrot, "hi", "--beam-size", 3)
    assert result.stdout == "hi [('beam_size', 3)]\n"
    assert result.stderr == ""


def test_a_text_is_written_to_a_file(parrot, tmp_path):
    path = tmp_path / "text.txt"
    result = run("generate", parrot, "好", "--output", path)
    assert (result.exit_code, result.stdout) == (0, f"{path}\n")
    assert path.read_text("utf-8") == "好 []\n"


def test_an_error_ends_the_line_that_it_interrupts(parrot):
    result = run("generate", parrot, "hi!")
    assert (result.exit_code, result.stdout) == (1, "hi!\n")
    assert result.stderr == "su-models: the scores are NaN\n"
    result = run("generate", parrot, "silent")
    assert (result.exit_code, result.stdout) == (1, "")


def test_warnings_are_lines_without_their_origin(parrot):
    result = run("generate", parrot, "hi", "--seed", 13)
    assert result.exit_code == 0
    assert result.stderr == "su-models: a parrot may bite\n"


# ---- many


def test_a_line_of_a_file_becomes_a_line(parrot, tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("\ufeff春\n夏 天\r\n秋\n", "utf-8")
    result = run("generate", parrot, "--file", path, "--seed", 1)
    assert result.exit_code == 0
    options = "[('seed', 1)]"
    assert result.stdout == f"春 {options}\n夏 天 {options}\n秋 {options}\n"
    assert "3/3" in result.stderr  # the bar
    output = tmp_path / "texts.txt"
    again = run("generate", parrot, "--file", path, "--output", output)
    assert again.stdout == f"{output}\n" and "3/3" in again.stderr
    assert output.read_text("utf-8") == "春 []\n夏 天 []\n秋 []\n"


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "it is empty"),
        ("春\n\n秋\n".encode(), "line 2 is empty"),
        ("春\n  \n".encode(), "line 2 is empty"),
        (b"\xff\xfe\x00", "UTF-8"),
        (None, "No such file"),
    ],
)
def test_files_without_prompts_are_refused(parrot, tmp_path, content, words):
    path = tmp_path / "prompts.txt"
    if content is not None:
        path.write_bytes(content)
    result = run("generate", parrot, "--file", path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert words in result.stderr and str(path) in result.stderr
    assert result.stderr.count("\n") == 1


# ---- poems


def test_the_poem_of_the_terminal_is_that_of_generate(poems, rhyming):
    result = run("generate", poems, "天地", "--seed", 4)
    assert (result.exit_code, result.stderr) == (0, "")
    task, model = load_task(poems), RunFolder(poems).load_model()
    (poem,) = task.generate(model, ["天地"], seed=4)
    assert result.stdout == f"{poem}\n" and lines_of(poem)


def test_poems_of_a_file_are_those_of_generate(poems, rhyming, tmp_path):
    path = tmp_path / "titles.txt"
    path.write_text("天地\n犬\n", "utf-8")
    result = run("generate", poems, "--file", path, "--set", "line_length=7")
    assert result.exit_code == 0, result.stderr
    task, model = load_task(poems), RunFolder(poems).load_model()
    made = task.generate(model, ["天地", "犬"], line_length=7)
    assert result.stdout.splitlines() == made
    assert {len(lines_of(poem)[0]) for poem in made} == {7}
    assert names(poems) == ["config.json", "model.keras"]


@pytest.mark.parametrize(
    "words, match",
    [
        (["--max-new-tokens", 9], "has no such option"),
        (["--set", "line_lenght=5"], "Did you mean line_length?"),
        (["--set", "line_length=6"], "Received: line_length=6"),
        (["--set", "rhyme"], "Received: rhyme"),
        (["--top-p", 2], "top_p=2.0"),
        (["--seed", -1], "seed=-1"),
        (["--beam-size", 0], "beam_size=0"),
        (["--seed", 3, "--set", "seed=4"], "given twice. Received: seed"),
        (["--beam-size", 2, "--top-k", 3], "Beam search does not sample"),
    ],
)
def test_wrong_options_are_one_readable_line(poems, rhyming, words, match):
    result = run("generate", poems, "天", *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert match in result.stderr and result.stderr.count("\n") == 1


def test_without_pypinyin_rhyme_is_off_and_it_is_said(poems, monkeypatch):
    def missing(characters):
        raise ImportError("Rhymes need the package `pypinyin`")

    monkeypatch.setattr(poem_writing, "rhyme_numbers", missing)
    poem_writing._numbers_of.cache_clear()
    result = run("generate", poems, "天")
    assert result.exit_code == 0 and lines_of(result.stdout.strip())
    said = "The poems do not rhyme. Rhymes need the package `pypinyin`"
    assert result.stderr == f"su-models: {said}\n"
    result = run("generate", poems, "天", "--set", "rhyme=true")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "su-models: Rhymes need the package `pypinyin`\n"


# ---- mistakes


@pytest.mark.parametrize(
    "words, match",
    [
        ([], "either a text or `--file`"),
        (["天", "--file", "a.txt"], "either a text or `--file`"),
        ([""], "The text is empty"),
        ([" \n"], "The text is empty"),
        (["天", "--output", "nowhere/a.txt"], "folder of `--output`"),
    ],
)
def test_mistakes_are_one_readable_line(
    parrot, words, match, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = run("generate", parrot, *words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert match in result.stderr and result.stderr.count("\n") == 1
    assert names(tmp_path) == []


def test_a_run_of_another_kind_is_refused(tmp_path):
    folder = finished(tmp_path / "line", Line())
    result = run("generate", folder, "天")
    assert result.exit_code == 1
    assert result.stderr == "su-models: The task line generates no text.\n"


def test_an_unfinished_run_is_refused(tmp_path):
    with RunFolder(tmp_path).claimed(Parrot().settings()):
        pass
    result = run("generate", tmp_path, "天")
    assert result.exit_code == 1 and "train it first." in result.stderr
    result = run("generate", tmp_path / "nowhere", "天")
    assert result.exit_code == 1 and "no config.json" in result.stderr


def test_help_names_the_default_way_of_sampling():
    shown = run("generate", "--help").output
    for words in ("--top-p", "0.9", "--file", "--set", "standard output"):
        assert words in shown
