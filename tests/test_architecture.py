"""The rules of CONTRIBUTING.md as tests: reads source, imports no backend."""

import ast
import collections
import functools
import pathlib
import re

import pytest

from tools import articles

ROOT = pathlib.Path(__file__).parent.parent
LIBRARY = ROOT / "su_models"
PATHS = sorted(LIBRARY.rglob("*.py"))
MODULES = [path for path in PATHS if path.name != "__init__.py"]

BASE = ["utils", "backend", "ops"]
MODELS = [
    *BASE,
    "text",
    "layers",
    "regularizers",
    "losses",
    "optimizers",
    "training",
    "sampling",
    "generation",
    "checkpoints",
]
TASKS = [*MODELS, "data", "models", "runs"]
MAY_IMPORT = {
    "utils": [],
    "backend": ["utils"],
    "ops": ["utils", "backend"],
    "text": ["utils"],
    "data": ["utils"],
    "layers": BASE,
    "regularizers": BASE,
    "losses": BASE,
    "optimizers": BASE,
    "training": [*BASE, "losses"],
    "sampling": [*BASE, "layers"],
    "generation": [*BASE, "layers"],
    "checkpoints": ["utils", "backend", "text"],
    "models": MODELS,
    "runs": ["utils", "backend", "data"],
    "tasks": TASKS,
    "export": ["utils", "backend", "models", "generation", "sampling"],
    "compat": [*TASKS, "tasks", "export"],
}
EVERYTHING = [*MAY_IMPORT]  # cli and su_models/__init__.py; nobody takes cli

# rooms that may exist without an article
PLUMBING = {
    "utils",
    "backend",
    "ops",
    "text",
    "data",
    "checkpoints",
    "generation",
    "runs",
    "export",
    "compat",
    "cli",
}

BACKENDS = {"tensorflow", "jax", "jaxlib", "torch"}
MAY_USE_A_BACKEND = {"backend", "checkpoints", "export"}
ASKING = {"keras.backend.backend", "keras.config.backend"}

# these do not train under XLA on TensorFlow
UNTRAINABLE = {"scan", "associative_scan", "slice_update", "slogdet"}
TRAINED = {"layers", "losses", "optimizers", "training"}

# every public class of these rooms is in tests/contract/cases.py
EXPORTED = {"layers", "losses", "optimizers", "regularizers", "training"}


def home(path):
    """The room of a module: `layers` for su_models/layers/a/b.py."""
    return path.relative_to(LIBRARY).parts[0]


def each(paths):
    def shown(path):
        return path.relative_to(ROOT).as_posix()

    return pytest.mark.parametrize("path", paths, ids=shown)


@functools.cache
def parse(path):
    return ast.parse(path.read_text("utf-8"))


def imports(tree):
    """Yields `(module, name)` of each absolute import; name "" if whole."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.module, alias.name) for alias in node.names)


def rooms_used(tree):
    """The rooms of su_models that a module imports from."""
    for module, name in imports(tree):
        parts = f"{module}.{name}".split(".")
        if parts[0] == "su_models" and parts[1]:
            yield parts[1]


def definitions(tree):
    """The public classes and functions at the top of a module."""
    kinds = ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            yield node


def exported(room):
    """`__all__` of a room, read from its source; it is a plain list."""
    for node in parse(LIBRARY / room / "__init__.py").body:
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            return ast.literal_eval(node.value)
    return []


def dotted(node):
    """Returns "a.b.c" for such an expression, "" for any other."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


# ---- the helpers above read what Python reads


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("import su_models.data, su_models.cli.main as m", ["data", "cli"]),
        (
            "from su_models import (\n    layers,\n    ops,\n)",
            ["layers", "ops"],
        ),
        ("def f():\n    from su_models.layers.a.b import C", ["layers"]),
        ("import su_models\nimport su_models_other.data", []),
        ("'''\nimport su_models.data\n'''", []),
    ],
)
def test_every_form_of_import_is_read(source, rooms):
    assert list(rooms_used(ast.parse(source))) == rooms


# ---- what stands where


@each(PATHS)
def test_imports_point_down(path):
    allowed = {home(path), *MAY_IMPORT.get(home(path), EVERYTHING)}
    assert set(rooms_used(parse(path))) <= allowed


def test_allowed_imports_have_no_cycle():
    open_rooms = dict(MAY_IMPORT)
    while open_rooms:
        leaves = [
            r for r, used in open_rooms.items() if not set(used) & {*open_rooms}
        ]
        assert leaves, f"a cycle among {sorted(open_rooms)}"
        for room in leaves:
            del open_rooms[room]


@each(PATHS)
def test_imports_are_absolute_and_name_their_module(path):
    for node in ast.walk(parse(path)):
        if not isinstance(node, ast.ImportFrom):
            continue
        assert not node.level, "relative import"
        if path.name == "__init__.py" or home(path) == "cli":
            continue  # these may import a room as a whole
        if node.module.split(".")[0] == "su_models":
            module = ROOT.joinpath(*node.module.split("."))
            assert module.with_suffix(".py").exists(), (
                f"import from the module that defines it, not {node.module}"
            )


@each(sorted({path.parent for path in PATHS}))
def test_folder_of_modules_is_a_package(path):
    assert (path / "__init__.py").exists(), "or pip does not install it"


@each(MODULES)
def test_module_has_its_test(path):
    twin = ROOT / "tests" / path.relative_to(LIBRARY)
    assert twin.with_name(f"test_{path.name}").exists()


@each([path for path in MODULES if home(path) not in PLUMBING])
def test_public_names_cite_their_source(path):
    if path.name == "registry.py":
        return  # finds by name what others implement
    for node in definitions(parse(path)):
        if node.name not in exported(home(path)):
            continue  # a helper that several modules of the room share
        doc = ast.get_docstring(node) or ""
        assert re.search("^(Article|Paper): https://", doc, re.M), node.name


@each([path for path in MODULES if home(path) in EXPORTED])
def test_public_names_are_exported(path):
    if path.name == "base.py":
        return  # what public classes share
    classes = (ast.ClassDef,)
    names = {
        node.name
        for node in definitions(parse(path))
        if isinstance(node, classes)
    }
    assert names <= set(exported(home(path)))


def test_no_two_public_names_are_equal():
    rooms = sorted({home(path) for path in PATHS if path.parent != LIBRARY})
    names = [
        name
        for room in rooms
        if (LIBRARY / room / "__init__.py").exists()
        for name in exported(room)
    ]
    counts = collections.Counter(names)
    assert [name for name in counts if counts[name] > 1] == []


# ---- backends


def backend_imports(tree):
    """Yields `(module, inside a function?)` for imports of a backend."""
    functions = ast.FunctionDef, ast.AsyncFunctionDef
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, functions)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            for module, _ in imports(ast.Module([node], [])):
                if module.split(".")[0] in BACKENDS:
                    yield module, id(node) in inner


@each(PATHS)
def test_backends_are_imported_only_below_and_inside_functions(path):
    for module, inside in backend_imports(parse(path)):
        assert home(path) in MAY_USE_A_BACKEND, module
        assert inside, f"{module} at the top of the module"


@each(PATHS)
def test_only_one_room_asks_which_backend_runs(path):
    tree = parse(path)
    asked = [
        dotted(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and dotted(node).endswith(("backend.backend", "config.backend"))
    ]
    asked += [m for m, name in imports(tree) if f"{m}.{name}" in ASKING]
    assert not asked or home(path) == "backend"


@each(PATHS)
def test_private_parts_of_keras_are_left_alone(path):
    tree = parse(path)
    for module, _ in imports(tree):
        assert not module.startswith("keras.src"), module
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            assert not dotted(node).startswith("keras.src"), node.lineno


@each([path for path in MODULES if home(path) in TRAINED])
def test_nothing_is_used_that_does_not_train_under_xla(path):
    tree = parse(path)
    for module, name in imports(tree):
        assert not (module == "keras.ops" and name in UNTRAINABLE), name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner, _, name = dotted(node).rpartition(".")
            assert not (owner.endswith("ops") and name in UNTRAINABLE), name
        if isinstance(node, ast.keyword):
            assert node.arg != "unroll", f"line {node.value.lineno}"


def test_every_room_is_imported_with_the_library():
    taken = set(rooms_used(parse(LIBRARY / "__init__.py")))
    rooms = {p.parent.name for p in LIBRARY.glob("*/__init__.py")}
    assert rooms - {"cli"} == taken


# ---- the article map


def test_article_map_is_fresh():
    fresh = (ROOT / "ARTICLES.md").read_text("utf-8") == articles.table()
    assert fresh, "run `make articles`"


def test_an_article_has_one_title():
    titles = collections.defaultdict(set)
    for article, title, *_ in articles.citations():
        if title:
            titles[article].add(title)
    assert {n: t for n, t in titles.items() if len(t) > 1} == {}
