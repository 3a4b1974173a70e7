"""Maps kexue.fm articles to the code, examples and tests that cite them.

python tools/articles.py 8265      what implements article 8265?
python tools/articles.py --write   regenerate ARTICLES.md
"""

import ast
import collections
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).parent.parent
PLACES = "su_models", "examples", "tests"
CITE = re.compile(r"https://kexue\.fm/archives/(\d+)\S*\s*(?:《(.+?)》)?")


def citations():
    """Yields `(article, title, place, name, path)`, one for each citation."""
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef
    for place in PLACES:
        for path in sorted((ROOT / place).rglob("*.py")):
            tree = ast.walk(ast.parse(path.read_text("utf-8")))
            for node in (n for n in tree if isinstance(n, kinds)):
                for found in CITE.findall(ast.get_docstring(node) or ""):
                    name = getattr(node, "name", path.stem)
                    where = path.relative_to(ROOT).as_posix()
                    yield int(found[0]), found[1], place, name, where


def table():
    """Returns ARTICLES.md: one row for each article, in order of number."""
    titles, cells = {}, collections.defaultdict(list)
    for article, title, place, name, where in citations():
        titles[article] = titles.get(article) or title
        cells[article, place].append(f"[{name}]({where})")
    rows = ["| article | title | code | example | test |", "|--|--|--|--|--|"]
    for n in sorted(titles):
        row = [f"[{n}](https://kexue.fm/archives/{n})", titles[n]]
        row += ["<br>".join(cells[n, place]) or "-" for place in PLACES]
        rows.append(f"| {' | '.join(row)} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        (ROOT / "ARTICLES.md").write_text(table(), "utf-8")
    for article, title, _, name, where in citations():
        if str(article) in sys.argv[1:]:
            print(f"{where}  {name}  {title}")
