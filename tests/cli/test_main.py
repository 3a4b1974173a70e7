import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import su_models
from su_models.cli import catalog, main

ROPE = "su_models.layers.position.rotary_embedding"
# as the command starts, before any room and Keras
ALONE = "import sys\nfrom su_models_command import main\n"


def run(*words):
    return CliRunner().invoke(main.app, list(words))


def process(code, *words, **env):
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, **env},
        cwd=catalog.PACKAGE.parent,
    )


def test_help_shows_commands_and_examples():
    done = run("--help")
    assert done.exit_code == 0
    for word in ("list", "info", "su-models info 8265", "科学空间"):
        assert word in done.stdout


@pytest.mark.parametrize("command", ["list", "info"])
def test_each_command_explains_itself(command):
    done = run(command, "--help")
    assert done.exit_code == 0
    assert "Usage" in done.stdout and "--json" in done.stdout
    summary = getattr(main, {"list": "list_names"}.get(command, command))
    assert summary.__doc__.splitlines()[0] in done.stdout


def test_without_a_command_the_help_is_shown():
    done = run()
    assert "list" in done.output and "info" in done.output


@pytest.mark.parametrize(
    "words",
    [["--help"], ["list"], ["info", "8265"], ["train", "-h"], ["--version"]],
)
def test_no_answer_waits_for_keras(words):
    code = (
        f"{ALONE}\ntry: main()\n"
        "finally: print('keras' in sys.modules, 'numpy' in sys.modules)"
    )
    done = process(code, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "False False"


def test_version():
    done = run("--version")
    assert done.stdout == f"su-models {su_models.__version__}\n"


def test_a_script_of_that_name_gets_the_whole_library(tmp_path):
    script = tmp_path / "su-models"
    script.write_text("import su_models; print(su_models.layers.ONLSTM)")
    path = str(catalog.PACKAGE.parent)
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    assert "su_models.layers.recurrent.on_lstm.ONLSTM" in done.stdout


def test_the_installed_command_starts_there():
    text = (catalog.PACKAGE.parent / "setup.py").read_text("utf-8")
    assert '"su-models = su_models_command:main"' in text
    assert 'py_modules=["su_models_command"]' in text


def test_list_shows_every_public_name_once():
    done = run("list")
    assert done.exit_code == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    names = [row[0] for row in rows if len(row) > 1]
    assert names == [entry.name for entry in catalog.entries()]
    rooms = [row[0] for row in rows if len(row) == 1]
    assert rooms == list(dict.fromkeys(e.room for e in catalog.entries()))


def test_list_shows_article_and_summary_in_one_line():
    (line,) = [r for r in run("list").stdout.splitlines() if "RotaryEmb" in r]
    assert line.rstrip().split(maxsplit=2) == [
        "RotaryEmbedding",
        "8265",
        "Rotates feature pairs by an angle proportional to position (RoPE).",
    ]


def test_list_of_one_room():
    done = run("list", "--room", "layers")
    assert done.stdout.startswith("layers\n")
    assert "RotaryEmbedding" in done.stdout and "load " not in done.stdout


def test_list_as_json():
    layers = json.loads(run("list", "--json", "--room", "layers").stdout)
    assert {entry["room"] for entry in layers} == {"layers"}
    (rope,) = [e for e in layers if e["name"] == "RotaryEmbedding"]
    assert rope["kind"] == "class"
    assert rope["module"] == ROPE
    assert rope["articles"] == [
        {
            "number": 8265,
            "title": "Transformer升级之路：2、博采众长的旋转式位置编码",
            "url": "https://kexue.fm/archives/8265",
        }
    ]
    assert rope["papers"] == ["https://arxiv.org/abs/2104.09864"]


def test_an_unknown_room_is_refused_with_a_guess():
    done = run("list", "--room", "layer")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "su-models: unknown room `layer`. Did you mean layers?\n"
    )


def block(done):
    """What `info` printed about RotaryEmbedding, as label and text."""
    (text,) = [
        text
        for text in done.stdout.split("\n\n")
        if text.startswith("RotaryEmbedding")
    ]
    rows = [line.split(maxsplit=1) for line in text.splitlines()]
    return {label: text.rstrip() for label, text in rows}


@pytest.mark.parametrize(
    "what", ["8265", "https://kexue.fm/archives/8265", "RotaryEmbedding"]
)
def test_info_shows_all_there_is_to_know(what):
    done = run("info", what)
    assert done.exit_code == 0
    (rope,) = catalog.find("RotaryEmbedding")
    assert (
        block(done).items()
        >= {
            "RotaryEmbedding": "(class)",
            "Rotates": rope.summary.removeprefix("Rotates "),
            "article": "https://kexue.fm/archives/8265 "
            "《Transformer升级之路：2、博采众长的旋转式位置编码》",
            "paper": "https://arxiv.org/abs/2104.09864",
            "import": "from su_models.layers import RotaryEmbedding",
            "signature": "RotaryEmbedding(base=10000.0, **kwargs)",
            "code": f"{ROPE}:{rope.line}",
        }.items()
    )
    assert "tests/layers/position/test_rotary_embedding.py" in done.stdout


def test_info_as_json():
    found = json.loads(run("info", "8265", "--json").stdout)
    (rope,) = [e for e in found if e["name"] == "RotaryEmbedding"]
    assert rope["signature"] == "RotaryEmbedding(base=10000.0, **kwargs)"
    twin = "tests/layers/position/test_rotary_embedding.py"
    assert rope["tests"][0] == twin


def test_info_on_several_implementations_shows_each(monkeypatch):
    rope = catalog.find("RotaryEmbedding")
    monkeypatch.setattr(catalog, "find", lambda what: rope * 2)
    assert run("info", "8265").stdout.count("(class)") == 2


@pytest.mark.parametrize(
    "what, message",
    [
        (
            "82650",
            "unknown article `82650`. Did you mean 8265 (",
        ),
        (
            "https://kexue.fm/archives/82650",
            "unknown article `82650`. Did you ",
        ),
        ("RotaryEmbeding", "`RotaryEmbeding`. Did you mean RotaryEmbedding?"),
        ("", "unknown name ``. Did you mean "),
    ],
)
def test_what_is_unknown_is_one_line_on_stderr(what, message):
    done = run("info", what)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [
        ValueError("`x` must\nbe positive. Received: x=-1"),
        FileNotFoundError(2, "No such file or directory", "a.keras"),
        NotImplementedError("not on this backend"),
    ],
)
def test_what_a_user_can_mend_is_one_line_on_stderr(monkeypatch, error):
    def fail():
        raise error

    monkeypatch.setattr(catalog, "entries", fail)
    done = run("list")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"su-models: {' '.join(str(error).split())}\n"
    assert run("--traceback", "list").exception is error


def test_an_error_of_ours_is_not_hidden(monkeypatch):
    def fail():
        raise KeyError("ours")

    monkeypatch.setattr(catalog, "entries", fail)
    assert isinstance(run("list").exception, KeyError)


def test_a_wrong_option_is_refused():
    done = run("list", "--rom", "layers")
    assert done.exit_code == 2
    assert "--rom" in done.stderr and done.stdout == ""


def test_another_module_may_add_a_command(monkeypatch):
    def sample(number: int):
        """Draw pictures."""
        if number < 1:
            raise ValueError(f"`number` must be >= 1. Received: {number}")
        print("drawn", number)

    commands = [*main.app.registered_commands]
    monkeypatch.setattr(main.app, "registered_commands", commands)
    main.app.command()(sample)
    assert "Draw pictures." in run("--help").stdout
    assert run("sample", "3").stdout == "drawn 3\n"
    done = run("sample", "0")
    assert (done.exit_code, done.stderr) == (
        1,
        "su-models: `number` must be >= 1. Received: 0\n",
    )


def test_a_terminal_without_chinese_is_served():
    done = process(f"{ALONE}main()", "info", "8265", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert r"\u5347" in done.stdout  # 升


@pytest.mark.parametrize("words", [["list"], ["list", "--json"]])
def test_a_closed_pipe_is_no_error(words):
    code = (
        f"{ALONE}import os\nread, write = os.pipe(); os.close(read)\n"
        "os.dup2(write, 1); main()"
    )
    assert process(code, *words).stderr == ""


def test_the_command_in_a_process_of_its_own():
    done = subprocess.run(
        [sys.executable, "-m", "su_models.cli.main", "info", "82650"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=catalog.PACKAGE.parent,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "su-models: unknown article `82650`. Did you mean 8265 ("
    )
