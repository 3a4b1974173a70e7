import ast
import importlib
import inspect
import pathlib
import sys
import textwrap

import pytest

from su_models.cli import catalog

ENTRIES = catalog.entries()
FILES = {
    "su_models/__init__.py": "",
    "su_models/cli/__init__.py": "__all__ = ['hidden']",
    "su_models/data/none.txt": "not a package",
    "su_models/empty/__init__.py": '"""No public name yet."""',
    "su_models/layers/__init__.py": """
        from su_models.layers.gate import Gate, halve as half
        from su_models.layers.nested import Deep

        __all__ = ["Deep", "Gate", "LIMIT", "half"]

        LIMIT = 3
        """,
    "su_models/layers/gate.py": '''
        """A module docstring: https://kexue.fm/archives/1 《not this》."""


        class Gate(Base):
            """Lets some pass,
            and some not.

            Article: https://kexue.fm/archives/4990
                《细水长flow之f-VAEs：
                Glow与VAEs的联姻》
            Article: https://kexue.fm/archives/10373#二者兼之
            Paper: https://arxiv.org/abs/1809.05861

            Related, but not this: article 8265.
            """

            def call(self, x):
                return x

            def __init__(self, units, *, rate=0.5, **kwargs):
                self.units = units


        def halve(x, by: int = 2):
            """Halves.

            Article: https://kexue.fm/archives/4990 《one
                and two》
            """
        ''',
    "su_models/layers/nested/__init__.py": """
        from su_models.layers.nested.deep import Deep
        """,
    "su_models/layers/nested/deep.py": '''
        from su_models.layers.gate import Gate


        class Deep(Gate):
            """Goes deep."""
        ''',
    "tools/articles.py": "",
    "tests/layers/test_gate.py": "",
    "tests/layers/test_a.py": "https://kexue.fm/archives/4990",
    "tests/layers/test_b.py": "https://kexue.fm/archives/49901",
    "tests/layers/test_c.py": "from su_models.layers import (\n  A,\n  Gate)",
    "tests/layers/test_d.py": "from su_models.layers import Gates, Gateway",
    "examples/e.py": "layer = su_models.layers.Gate(3)",
}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A small library in a checkout of its own."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")
    monkeypatch.setattr(catalog, "PACKAGE", tmp_path / "su_models")
    return tmp_path


def entry(name):
    (found,) = [e for e in catalog.entries() if e.name == name]
    return found


def test_rooms_are_packages_other_than_the_command(made):
    assert catalog.rooms() == ["empty", "layers"]


def test_entries_follow_the_public_names(made):
    assert [(e.name, e.kind) for e in catalog.entries()] == [
        ("Deep", "class"),
        ("Gate", "class"),
        ("LIMIT", "value"),
        ("half", "function"),
    ]


def test_a_definition_is_found_through_imports(made):
    assert (entry("Deep").module, entry("Deep").line) == (
        "su_models.layers.nested.deep",
        5,
    )
    assert entry("half").module == "su_models.layers.gate"
    assert entry("LIMIT").module == "su_models.layers"


def test_docstrings_are_read(made):
    gate = entry("Gate")
    assert gate.summary == "Lets some pass, and some not."
    assert gate.articles == {
        4990: "细水长flow之f-VAEs：Glow与VAEs的联姻",
        10373: "",
    }
    assert gate.papers == ["https://arxiv.org/abs/1809.05861"]
    assert entry("half").articles == {4990: "one and two"}
    assert entry("LIMIT").summary == ""


def test_signatures_are_read(made):
    gate = entry("Gate")
    assert catalog.signature(gate) == "(units, *, rate=0.5, **kwargs)"
    assert catalog.signature(gate) == "(units, *, rate=0.5, **kwargs)"  # again
    assert catalog.signature(entry("half")) == "(x, by: int=2)"
    assert catalog.signature(entry("LIMIT")) == ""


def test_an_inherited_signature_is_asked_of_the_class():
    keras_class = catalog.Entry(
        "InputLayer", "layers", "class", "keras.layers", 1, "", None
    )
    assert "batch_size=None" in catalog.signature(keras_class)
    layer = catalog.Entry(
        "ReLU", "layers", "class", "keras.layers", 1, "", None
    )
    assert catalog.signature(layer).startswith("(max_value=None, ")


@pytest.mark.parametrize(
    "query, names",
    [
        ("4990", ["Gate", "half"]),
        (" 10373 ", ["Gate"]),
        ("https://kexue.fm/archives/4990", ["Gate", "half"]),
        ("https://kexue.fm/archives/10373#二者兼之", ["Gate"]),
        ("https://spaces.ac.cn/archives/10373/", ["Gate"]),
        ("https://arxiv.org/abs/1809.05861", ["Gate"]),
        ("Gate", ["Gate"]),
        ("gate", ["Gate"]),
        ("su_models.layers.Gate", ["Gate"]),
        ("layers.LIMIT", ["LIMIT"]),
    ],
)
def test_what_is_asked_for_is_found(made, query, names):
    assert [e.name for e in catalog.find(query)] == names


@pytest.mark.parametrize(
    "query, message",
    [
        ("4991", "unknown article `4991`. Did you mean 4990 (Gate, half)?"),
        ("490", "unknown article `490`. Did you mean 4990 (Gate, half)?"),
        ("10999", "unknown article `10999`. Did you mean 10373 (Gate)?"),
        # at equal edit distance, the numerically nearest
        ("9999", "unknown article `9999`. Did you mean 4990 (Gate, half)?"),
        ("https://kexue.fm/archives/10374", "`10374`. Did you mean 10373 (G"),
        ("Gat", "unknown name `Gat`. Did you mean Gate?"),
        ("DEEPER", "unknown name `DEEPER`. Did you mean Deep?"),
        ("layers.Haft", "unknown name `layers.Haft`. Did you mean half?"),
    ],
)
def test_what_is_unknown_is_refused_with_a_guess(made, query, message):
    with pytest.raises(catalog.Unknown) as error:
        catalog.find(query)
    assert message in str(error.value)


@pytest.mark.parametrize("query", ["8265", "Gate"])
def test_an_empty_library_makes_no_guess(made, query):
    (made / "su_models/layers/__init__.py").unlink()
    with pytest.raises(catalog.Unknown, match=f"unknown .* `{query}`.$"):
        catalog.find(query)


def test_the_numerically_nearest_of_equals(made):
    path = made / "su_models/layers/gate.py"
    text = path.read_text("utf-8").replace("10373", "6000")
    path.write_text(text.replace("4990", "2000"), "utf-8")
    catalog._tree.cache_clear()
    for number, guess in ((5111, 6000), (3111, 2000)):
        with pytest.raises(catalog.Unknown, match=f"mean {guess} "):
            catalog.find(str(number))


def test_places_of_the_checkout(made):
    gate = entry("Gate")
    assert catalog.places(gate, "tests") == [
        "tests/layers/test_gate.py",
        "tests/layers/test_a.py",
        "tests/layers/test_c.py",
    ]
    assert catalog.places(gate, "examples") == ["examples/e.py"]
    assert catalog.places(entry("Deep"), "tests") == []


def test_an_installed_library_has_no_places(made):
    (made / "tools/articles.py").unlink()
    assert catalog.places(entry("Gate"), "tests") == []


def test_a_name_that_is_nowhere_is_refused(made):
    init = made / "su_models/empty/__init__.py"
    init.write_text("__all__ = ['Ghost']")
    with pytest.raises(ValueError, match="Received: name=Ghost, path=.*empty"):
        catalog.entries()


# what was read must be what an import gives, for every name there is


def imported(entry):
    room = importlib.import_module(f"su_models.{entry.room}")
    return getattr(room, entry.name)


def test_no_public_name_is_left_out():
    rooms = [p for p in sys.modules if p.count(".") == 1]
    rooms = [p for p in rooms if p.startswith("su_models.")]
    public = {
        (room.split(".")[1], name)
        for room in rooms
        for name in getattr(sys.modules[room], "__all__", ())
    }
    assert public <= {(e.room, e.name) for e in ENTRIES}
    assert ("layers", "RotaryEmbedding") in public


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.room}.{e.name}")
def test_what_is_read_is_what_is_imported(entry):
    thing = imported(entry)
    if entry.kind == "value":
        return
    assert inspect.isclass(thing) == (entry.kind == "class")
    assert thing.__module__ == entry.module
    assert inspect.cleandoc(thing.__doc__) == entry.docstring
    lines = pathlib.Path(inspect.getsourcefile(thing)).read_text("utf-8")
    assert f" {entry.name}" in lines.splitlines()[entry.line - 1]
    if entry.kind == "class":
        _, *arguments = inspect.signature(thing.__init__).parameters
    else:
        arguments = list(inspect.signature(thing).parameters)
    (read,) = ast.parse(f"def read{catalog.signature(entry)}: pass").body
    read = [n.arg for n in ast.walk(read.args) if isinstance(n, ast.arg)]
    assert sorted(read) == sorted(arguments)


def test_summaries_fit_a_line():
    for entry in ENTRIES:
        assert entry.summary, entry.name
        assert "\n" not in entry.summary
