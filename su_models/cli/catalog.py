"""Catalog of the public names, from the `__all__` and docstrings of rooms.

The source is parsed, not imported, so that an answer need not wait for Keras.
"""

import ast
import copy
import dataclasses
import functools
import importlib
import inspect
import pathlib
import re

from su_models.utils.nearest import edit_distance, nearest

PACKAGE = pathlib.Path(__file__).parent.parent
ARTICLE = "https://kexue.fm/archives/"
CITE = re.compile(rf"{re.escape(ARTICLE)}(\d+)\S*\s*(?:《([^》]+)》)?")
CHINESE = "[\u3000-\u9fff\uff00-\uffef]"  # characters and punctuation
PAPER = re.compile(r"^Paper: (https?://\S+)", re.M)
QUERY = re.compile(r"(?:\S*/archives/)?(\d+)(?:[/?#]\S*)?")


class Unknown(ValueError):
    """A name or article that the library does not have."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One public name.

    Args:
        name: the name.
        room: the subpackage that exports it.
        kind: "class", "function" or "value".
        module: dotted name of the module that defines it.
        line: its line in that module.
        docstring: its docstring, without indentation.
        signature: its arguments as text, or None if they are not in the
            source (see `signature`).
    """

    name: str
    room: str
    kind: str
    module: str
    line: int
    docstring: str
    signature: str | None

    @property
    def summary(self):
        """The first paragraph of the docstring, as one line."""
        return _one_line(self.docstring.split("\n\n")[0])

    @property
    def articles(self):
        """The articles that it implements, `{number: title}`."""
        found = CITE.findall(self.docstring)
        return {int(number): _one_line(title) for number, title in found}

    @property
    def papers(self):
        """The addresses of the papers, in their order."""
        return PAPER.findall(self.docstring)


def version():
    """Returns the version of the library."""
    node = _defined(PACKAGE / "__init__.py", "__version__")
    return ast.literal_eval(node.value)


def rooms():
    """Returns the names of the subpackages that export public names."""
    inits = sorted(PACKAGE.glob("*/__init__.py"))
    return [path.parent.name for path in inits if path.parent.name != "cli"]


def entries():
    """Returns an `Entry` for each public name, room by room.

    Example:

    >>> from su_models.cli.catalog import entries
    >>> rope, = [e for e in entries() if e.name == "RotaryEmbedding"]
    >>> rope.articles
    {8265: 'Transformer升级之路：2、博采众长的旋转式位置编码'}
    """
    found = []
    for room in rooms():
        init = PACKAGE / room / "__init__.py"
        public = _defined(init, "__all__")
        names = ast.literal_eval(public.value) if public else ()
        found += [
            _entry(room, name, *_definition(init, name)) for name in names
        ]
    return found


def find(query):
    """Returns the entries for an article number, an address or a name.

    Args:
        query: an article number, the address of an article or a paper, or
            a public name, with or without its modules.

    Returns:
        A list of `Entry`, at least one.

    Raises:
        Unknown: if there are none; the message suggests the nearest.
    """
    known = entries()
    query = query.strip()
    number = QUERY.fullmatch(query)
    if number:
        return _find_article(int(number[1]), known)
    by_paper = [entry for entry in known if query in entry.papers]
    name = query.rpartition(".")[2]
    folded = name.casefold()
    by_name = [entry for entry in known if entry.name.casefold() == folded]
    if by_paper or by_name:
        return by_paper or by_name
    guess = nearest(name, [entry.name for entry in known])
    raise Unknown(f"unknown name `{query}`.{_did_you_mean(guess)}")


def signature(entry):
    """Returns the arguments of a public name, as Python shows them.

    Args:
        entry: an `Entry`.

    Returns:
        A string, which is empty for a value. The library is imported only if
        the arguments are inherited or generated.
    """
    if entry.signature is None:
        owner = importlib.import_module(entry.module)
        # of `__init__`, since Keras' `__new__` hides the class's arguments
        found = inspect.signature(getattr(owner, entry.name).__init__)
        _, *arguments = found.parameters.values()
        return str(inspect.Signature(arguments))
    return entry.signature


def places(entry, folder):
    """Returns the files of the checkout that test or use an entry.

    Args:
        entry: an `Entry`.
        folder: "tests" or "examples".

    Returns:
        A list of paths relative to the checkout, the module's own test
        first. It is empty for an installed library, which has no checkout.
    """
    checkout = PACKAGE.parent
    if not (checkout / "tools" / "articles.py").exists():
        return []
    *packages, module = entry.module.split(".")[1:]
    twin = checkout.joinpath("tests", *packages, f"test_{module}.py")
    signs = [rf"{ARTICLE}{number}\b" for number in entry.articles]
    signs.append(rf"^ *from su_models\b[^(\n]*(?:\([^)]*)?\b{entry.name}\b")
    signs.append(rf"\bsu_models\.{entry.room}\.{entry.name}\b")
    sign = re.compile("|".join(signs), re.M)
    found = [
        path
        for path in (checkout / folder).rglob("*.py")
        if path == twin or sign.search(path.read_text("utf-8"))
    ]
    found.sort(key=lambda path: (path != twin, path))
    return [path.relative_to(checkout).as_posix() for path in found]


def _find_article(number, known):
    """Returns the entries for an article."""
    found = [entry for entry in known if number in entry.articles]
    if found:
        return found
    numbers = {n for entry in known for n in entry.articles}
    near = min(
        numbers,
        key=lambda n: (edit_distance(str(number), str(n)), abs(number - n), n),
        default=None,
    )
    names = [entry.name for entry in known if near in entry.articles]
    guess = near and f"{near} ({', '.join(names)})"
    raise Unknown(f"unknown article `{number}`.{_did_you_mean(guess)}")


def _did_you_mean(guess):
    """Returns the end of a message: a suggestion, if there is one."""
    return f" Did you mean {guess}?" if guess else ""


def _one_line(text):
    """Returns wrapped text as one line; Chinese is joined without spaces."""
    text = re.sub(rf"(?<={CHINESE})\s*\n\s*|\s*\n\s*(?={CHINESE})", "", text)
    return " ".join(text.split())


@functools.cache
def _tree(path):
    """Returns the syntax tree of a source file."""
    return ast.parse(path.read_text("utf-8"))


def _defined(path, name):
    """Returns the top-level node that binds a name in a file, or None."""
    for node in _tree(path).body:
        if isinstance(node, ast.Assign):
            names = [getattr(target, "id", None) for target in node.targets]
        elif isinstance(node, ast.ImportFrom):
            names = [alias.asname or alias.name for alias in node.names]
        else:
            names = [getattr(node, "name", None)]
        if name in names:
            return node
    return None


def _definition(path, name):
    """Returns the file and the node that define a name, across imports."""
    node = _defined(path, name)
    if node is None:
        raise ValueError(
            f"`__all__` must only hold names that the source defines or "
            f"imports. Received: name={name}, path={path}"
        )
    if not isinstance(node, ast.ImportFrom):
        return path, node
    (original,) = (a.name for a in node.names if (a.asname or a.name) == name)
    module = PACKAGE.parent.joinpath(*node.module.split("."))
    init = module / "__init__.py"
    return _definition(
        init if init.exists() else module.with_suffix(".py"), original
    )


def _entry(room, name, path, node):
    """Returns the entry for a definition."""
    kinds = {ast.ClassDef: "class", ast.FunctionDef: "function"}
    kind = kinds.get(type(node), "value")
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return Entry(
        name=name,
        room=room,
        kind=kind,
        module=".".join(parts).removesuffix(".__init__"),
        line=node.lineno,
        docstring="" if kind == "value" else ast.get_docstring(node) or "",
        signature=_signature(node, kind),
    )


def _signature(node, kind):
    """Returns the arguments in a definition, or None if it has none."""
    if kind == "value":
        return ""
    if kind == "function":
        return f"({ast.unparse(node.args)})"
    for method in node.body:
        if getattr(method, "name", None) == "__init__":
            arguments = copy.deepcopy(method.args)
            del arguments.args[0]
            return f"({ast.unparse(arguments)})"
    return None
