import itertools

import numpy as np
import pytest

from su_models.checkpoints.table import (
    Column,
    Family,
    Row,
    Source,
    dense,
    embeddings,
    matrix_shape,
    norm,
    tensor,
    turned,
    weights_of,
)
from tests.checkpoints.small import small_bert

LEFT = Column("left", "tf1", "/kernel", "/bias", "/gamma", "/beta")
RIGHT = Column(
    "right",
    "safetensors",
    ".weight",
    ".bias",
    ".weight",
    ".bias",
    ".weight",
    transposed=True,
    leading=True,
    aliases=((r"^old\.", "new."), (r"gamma$", "weight")),
)


@pytest.mark.parametrize(
    ("shape", "path", "matrix"),
    [
        ((5, 2, 3), "query/kernel", (5, 6)),
        ((2, 3, 5), "attention_output/kernel", (6, 5)),
        ((2, 3), "query/bias", (6,)),
        ((5,), "attention_output/bias", (5,)),
        ((4, 5), "kernel", (4, 5)),
        ((7, 3), "embeddings", (7, 3)),
        ((3,), "gamma", (3,)),
    ],
)
def test_heads_are_merged(shape, path, matrix):
    assert matrix_shape(shape, path) == matrix


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("leading", [False, True])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("shape", "path"),
    [
        ((5, 2, 4), "query/kernel"),
        ((2, 4, 6), "attention_output/kernel"),
        ((2, 4), "query/bias"),
        ((4, 6), "kernel"),
    ],
)
def test_what_is_written_is_read(shape, path, transposed, leading, halves):
    for n in (1, 3):
        sources = [
            Source("x", transposed, (k, n), leading, halves) for k in range(n)
        ]
        parts = np.random.default_rng(0).normal(size=(n, *shape))
        stored = sources[0].write(list(parts), path)
        assert stored.shape == tuple(sources[0].shape(shape, path))
        for source, part in zip(sources, parts, strict=True):
            read = source.read(stored, shape, path)
            np.testing.assert_array_equal(read, part)


def test_forms_one_by_one():
    matrix = np.arange(6).reshape(2, 3)
    path = "kernel"
    read = Source("x", transposed=True).read(matrix.T, (2, 3), path)
    np.testing.assert_array_equal(read, matrix)
    read = Source("x", leading=True).read(matrix[None], (2, 3), path)
    np.testing.assert_array_equal(read, matrix)
    read = Source("x", part=(1, 3)).read(matrix, (2, 1), path)
    np.testing.assert_array_equal(read, matrix[:, 1:2])
    # a head of four: features (0, 2), (1, 3) rotate together in halves
    head = np.array([[10, 11, 12, 13]])
    read = Source("x", halves=True).read(head.reshape(4), (1, 4), "bias")
    np.testing.assert_array_equal(read, [[10, 12, 11, 13]])


def test_rows_in_front_are_skipped():
    stored = np.arange(12).reshape(6, 2)
    source = Source("x", skipped=2)
    assert source.shape((4, 2), "embeddings") == (6, 2)
    read = source.read(stored, (4, 2), "embeddings")
    np.testing.assert_array_equal(read, stored[2:])
    written = source.write([read], "embeddings")
    np.testing.assert_array_equal(written[2:], read)
    assert written.shape == (6, 2) and not written[:2].any()


def test_names_are_numbered():
    source = Source("a{i}", times="b{i:02d}", transposed=True).numbered(7)
    assert source == Source("a7", times="b07", transposed=True)


def test_how_well_a_family_fits():
    family = Family("f", (), (), marks=("a", "b"), lacks=("c",))
    assert family.fits({"a", "b", "d"}) == 3
    assert family.fits({"a", "b", "c"}) == family.fits({"a"}) == -1
    assert Family("f", (), ()).fits({"a"}) == 0


def test_heads_are_filled_one_after_the_other():
    kernel = np.arange(12).reshape(2, 6)
    read = Source("x").read(kernel, (2, 3, 2), "query/kernel")
    np.testing.assert_array_equal(read[:, 1], kernel[:, 2:4])
    read = Source("x").read(kernel.T, (3, 2, 2), "attention_output/kernel")
    np.testing.assert_array_equal(read[1], kernel.T[2:4])


def test_halves_rotate_alike():
    """The scores of rotated halves are those of rotated pairs."""
    random = np.random.default_rng(0)
    stored = random.normal(size=(2, 8))  # one head: query, key
    angles = random.normal(size=4)

    def rotate(x, y):
        c, s = np.cos(angles), np.sin(angles)
        return x * c - y * s, x * s + y * c

    def in_halves(v):
        return np.concatenate(rotate(v[:4], v[4:]))

    def in_pairs(v):
        return np.stack(rotate(v[0::2], v[1::2]), axis=-1).reshape(-1)

    ours = Source("x", halves=True).read(stored, (2, 1, 8), "query/kernel")
    q, k = stored
    mine = in_pairs(ours[0, 0]) @ ours[1, 0]
    np.testing.assert_allclose(mine, in_halves(q) @ k)


def test_features_of_heads_are_turned():
    array = np.arange(16).reshape(2, 8)  # two heads of four
    halves = turned(array, 4, halves=True)
    assert halves[0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    np.testing.assert_array_equal(turned(halves, 4, halves=False), array)
    for head_dim in (3, 16):
        with pytest.raises(ValueError, match=f"Received: head_dim={head_dim}"):
            turned(array, head_dim, halves=True)


def test_rows_of_a_dense_layer():
    both = {LEFT: "a/b", RIGHT: ("a.b", {"halves": True})}
    kernel, bias = dense("L-{i}", both, "query")
    assert (kernel.path, bias.path) == ("query/kernel", "query/bias")
    assert kernel.sources["left"] == Source("a/b/kernel")
    assert bias.sources["left"] == Source("a/b/bias")
    assert kernel.sources["right"] == Source(
        "a.b.weight", transposed=True, leading=True, halves=True
    )
    assert bias.sources["right"] == Source("a.b.bias", halves=True)
    assert [row.path for row in dense("L", both)] == ["kernel", "bias"]
    assert [row.path for row in dense("L", both, bias=False)] == ["kernel"]
    assert dense("L", both, vocabulary=1)[0].vocabulary == 1


def test_rows_of_other_layers():
    both = {LEFT: "n", RIGHT: "n"}
    beta, gamma = norm("N", both)
    assert (beta.path, gamma.path) == ("beta", "gamma")
    assert beta.sources == {"left": Source("n/beta"), "right": Source("n.bias")}
    assert gamma.sources["right"] == Source("n.weight")
    assert [row.path for row in norm("N", both, ("gamma",))] == ["gamma"]
    (table,) = embeddings("E", both, vocabulary=0)
    assert table.vocabulary == 0 and table.path == "embeddings"
    assert table.sources == {"left": Source("n"), "right": Source("n.weight")}
    assert embeddings("E", both)[0].vocabulary is None
    (row,) = tensor("L", {LEFT: "a/b", RIGHT: ("c", {"skipped": 2})}, "k")
    assert row.sources == {
        "left": Source("a/b"),
        "right": Source("c", skipped=2),
    }


FAMILY = Family(
    "family",
    (LEFT, RIGHT),
    (
        Row("Block-{i}-Norm", "gamma", {"left": Source("block_{i:03d}/g")}),
        Row("Block-{i}", "kernel", {"left": Source("block_{i:03d}/k")}),
        Row("Top", "kernel", {"left": Source("k"), "right": Source("top")}),
    ),
)


def test_weights_are_found_by_layer_and_path():
    row, block = FAMILY.find("Block-12-Norm", "gamma")
    assert row.path == "gamma" and block == 12
    assert row.sources["left"].name.format(i=block) == "block_012/g"
    assert FAMILY.find("Top", "kernel")[1] is None
    for layer, path in (
        ("Block-12-Norm", "beta"),
        ("Block-x", "kernel"),
        ("Block-1-Normal", "gamma"),
        ("My-Block-1", "kernel"),
        ("Top", "bias"),
    ):
        assert FAMILY.find(layer, path) is None


def test_all_names():
    assert FAMILY.names(LEFT, 2) == {
        "block_000/g",
        "block_001/g",
        "block_000/k",
        "block_001/k",
        "k",
    }
    assert FAMILY.names(RIGHT, 2) == {"top"}


def test_names_of_others_become_those_of_the_table():
    assert RIGHT.canonical("old.x.gamma") == "new.x.weight"
    assert RIGHT.canonical("x.old.bias") == "x.old.bias"


def test_weights_of_a_model_have_their_places():
    model = small_bert(1, prefix="my-")
    found = {(a, b): v for a, b, v in weights_of(model, "my-")}
    assert len(found) == len(model.weights)
    kernel = found["Transformer-0-MultiHeadSelfAttention", "query/kernel"]
    assert tuple(kernel.shape) == (4, 2, 2)
    for name, path in itertools.product(("Embedding-Norm",), ("beta", "gamma")):
        assert (name, path) in found
    assert ("Transformer-0-FeedForward", "hidden_0/kernel") in found
    assert ("MLM-Bias", "beta") in found


def test_models_within_a_model_are_looked_into():
    import keras

    inner = small_bert(1, heads=False)
    outer = keras.Model(inner.inputs, inner(inner.inputs))
    twice = keras.Model(inner.inputs, [outer(inner.inputs), inner.output])
    names = [(layer, path) for layer, path, _ in weights_of(twice)]
    assert names == [(layer, path) for layer, path, _ in weights_of(inner)]
