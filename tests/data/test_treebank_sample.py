import os
import pathlib
import zipfile

import pytest

from su_models.data import load
from su_models.data.treebank_sample import load_treebank_sample, read_trees

TEXT = """
( (S
    (NP-SBJ (NNP Mr.) (NNP Vinken) )
    (VP (VBZ is) (NP-PRD (-NONE- *T*-1) ))
    (. .) ))

( (X (SYM &)))
"""
TREES = [
    [
        "S",
        ["NP-SBJ", ["NNP", "Mr."], ["NNP", "Vinken"]],
        ["VP", ["VBZ", "is"], ["NP-PRD", ["-NONE-", "*T*-1"]]],
        [".", "."],
    ],
    ["X", ["SYM", "&"]],
]


def test_brackets_become_lists():
    assert read_trees(TEXT) == TREES
    assert read_trees("(S (NN a) (VB b))(NN c)") == [
        ["S", ["NN", "a"], ["VB", "b"]],
        ["NN", "c"],
    ]
    assert read_trees(" \n") == []


def test_a_deep_tree_takes_no_deep_recursion():
    n = 10_000
    (tree,) = read_trees("(S " * n + "(NN dog)" + ")" * n)
    for _ in range(n):
        label, tree = tree
        assert label == "S"
    assert tree == ["NN", "dog"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(S (NN a)", "do not match. Received: 1 open at the end"),
        ("(S (NN a)) (NN", "do not match. Received: 1 open at the end"),
        ("(S (NN a)))", r"do not match. Received: '\)' after 1 trees"),
        ("word", "do not match. Received: 'word' after 0 trees"),
        ("()", r"Received: node=\[\]"),
        ("(S)", r"Received: node=\['S'\]"),
        ("(NN a b)", r"Received: node=\['NN', 'a', 'b'\]"),
        ("(S (NN a) b)", r"Received: node=\['S', \['NN', 'a'\], 'b'\]"),
        ("(S ((NN a)))", r"Received: node=\[\['NN', 'a'\]\]"),
        ("((NN a) (NN b))", r"Received: node=\[\['NN', 'a'\], "),
    ],
)
def test_what_is_no_tree_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        read_trees(text)


def archive(path, files):
    with zipfile.ZipFile(path, "w") as file:
        for name, text in files.items():
            file.writestr(f"treebank/{name}", text)
    return {"treebank.zip": path}


def test_the_files_come_in_the_order_of_the_newspaper(tmp_path):
    files = {
        "combined/wsj_0002.mrg": "(NN second)",
        "combined/wsj_0001.mrg": TEXT,
        "combined/README": "((((",
        "parsed/wsj_0001.prd": "(NN other)",
    }
    paths = archive(tmp_path / "treebank.zip", files)
    trees = load_treebank_sample(paths)["all"]["trees"]
    assert trees == [*TREES, ["NN", "second"]]


@pytest.mark.parametrize("size", [0, 10, -1, -30])
def test_a_truncated_archive_is_refused(tmp_path, size):
    path = tmp_path / "treebank.zip"
    paths = archive(path, {"combined/wsj_0001.mrg": TEXT})
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ValueError, match="Not a whole zip .*Received: path="):
        load_treebank_sample(paths)


@pytest.mark.data
def test_the_real_set():
    root = pathlib.Path(os.environ["SU_MODELS_DATA"])
    path = root / "treebank_sample" / "treebank.zip"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    trees = load("treebank_sample")["all"]["trees"]
    assert len(trees) == 3914

    def leaves(tree):
        if isinstance(tree[1], str):
            return [tree]
        return [leaf for part in tree[1:] for leaf in leaves(part)]

    words = [leaf for tree in trees for leaf in leaves(tree)]
    assert sum(tag != "-NONE-" for tag, _ in words) == 94_084
    assert words[:2] == [["NNP", "Pierre"], ["NNP", "Vinken"]]
