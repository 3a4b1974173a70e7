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
CITE = re.compile(r"https://kexue\.fm/archives/(\d+)\S*\s*(?:《([^》]+)》)?")


def citations(root=ROOT):
    """Yields `(article, title, place, name, path)`, one for each citation."""
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef
    for place in PLACES:
        for path in sorted((root / place).rglob("*.py")):
            text = path.read_text("utf-8")
            if not CITE.search(text):
                continue  # parsing takes longer
            tree = ast.walk(ast.parse(text))
            for node in (n for n in tree if isinstance(n, kinds)):
                for number, title in CITE.findall(
                    ast.get_docstring(node) or ""
                ):
                    name = getattr(node, "name", path.stem)
                    where = path.relative_to(root).as_posix()
                    # a long title continues in the next line
                    title = re.sub(r"\n\s*", "", title)
                    yield int(number), title, place, name, where


def table(root=ROOT):
    """Returns ARTICLES.md: one row for each article, in order of number."""
    titles, cells = {}, collections.defaultdict(list)
    for article, title, place, name, where in citations(root):
        titles[article] = titles.get(article) or title
        link = f"[{name}]({where})"
        if link not in cells[article, place]:
            cells[article, place].append(link)
    rows = ["| article | title | code | example | test |", "|--|--|--|--|--|"]
    for n in sorted(titles):
        row = [f"[{n}](https://kexue.fm/archives/{n})", titles[n]]
        row += ["<br>".join(cells[n, place]) or "-" for place in PLACES]
        rows.append(f"| {' | '.join(row)} |")
    return "\n".join(rows) + "\n"


def main(arguments):
    """Runs the command of the module's docstring; returns its exit status."""
    if arguments == ["--write"]:
        (ROOT / "ARTICLES.md").write_text(table(), "utf-8")
        return 0
    if not arguments or not all(a.isdecimal() for a in arguments):
        print(__doc__, file=sys.stderr)
        return 2
    found = [c for c in citations() if str(c[0]) in arguments]
    for _, title, _, name, where in found:
        print(f"{where}  {name}  {title}".rstrip())
    absent = [a for a in arguments if int(a) not in {c[0] for c in found}]
    for article in absent:
        print(f"No code cites article {article}.", file=sys.stderr)
    return 1 if absent else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
