"""Article: https://kexue.fm/archives/5542"""

import itertools

import numpy as np
import pytest

from su_models.text import ViterbiDecoder

NEVER = -np.inf


def best(nodes, trans, starts=None, ends=None):
    """Every path, the score of each by Eq. (5), and the best one."""
    n, k = nodes.shape
    found, highest = None, NEVER
    for path in itertools.product(range(k), repeat=n):
        if starts is not None and path[0] not in starts:
            continue
        if ends is not None and path[-1] not in ends:
            continue
        score = nodes[0, path[0]]
        for t in range(n - 1):
            score += trans[path[t], path[t + 1]] + nodes[t + 1, path[t + 1]]
        if score > highest:
            found, highest = path, score
    return found


@pytest.mark.parametrize("length", [1, 2, 5])
@pytest.mark.parametrize(
    ("starts", "ends"),
    [(None, None), ([0, 2], None), (None, [1]), ([2], [1, 2])],
)
def test_the_path_is_the_best_of_all(length, starts, ends):
    random = np.random.default_rng(0)
    for _ in range(20):
        nodes = random.normal(size=(length, 3))
        trans = 2 * random.normal(size=(3, 3))
        expected = best(nodes, trans, starts, ends)
        if expected is None:
            continue  # one step that may neither start nor end
        decoder = ViterbiDecoder(trans, starts, ends)
        assert tuple(decoder.decode(nodes)) == expected
        decoder = ViterbiDecoder(starts=starts, ends=ends)
        assert tuple(decoder.decode(nodes, trans)) == expected


def test_transitions_count_from_row_to_column():
    trans = np.zeros((3, 3))
    trans[0, 1] = trans[1, 2] = 5.0
    nodes = np.array([[0.1, 0, 0], [0, 0, 0], [0, 0, 0]])
    assert ViterbiDecoder(trans).decode(nodes).tolist() == [0, 1, 2]
    assert ViterbiDecoder(trans.T).decode(nodes).tolist() == [2, 1, 0]


def test_what_is_forbidden_is_not_on_the_path():
    random = np.random.default_rng(0)
    for _ in range(20):
        nodes, trans = random.normal(size=(5, 3)), random.normal(size=(3, 3))
        trans[0, 0] = trans[2, 1] = nodes[2, 1] = NEVER
        path = ViterbiDecoder(trans).decode(nodes)
        assert tuple(path) == best(nodes, trans)


def test_the_nodes_are_not_changed():
    nodes = np.ones((4, 3), "float32")
    decoder = ViterbiDecoder(np.eye(3), starts=[0], ends=[1])
    assert decoder.decode(nodes).tolist() == decoder.decode(nodes).tolist()
    assert (nodes == 1).all()


def test_the_transitions_can_be_set_anew():
    decoder = ViterbiDecoder(np.zeros((2, 2)))
    nodes = np.array([[0.0, 1.0], [1.0, 0.0]])
    assert decoder.decode(nodes).tolist() == [1, 0]
    decoder.trans = [[0.0, 0.0], [-3.0, 0.5]]
    assert decoder.decode(nodes).tolist() == [1, 1]
    # for one call
    assert decoder.decode(nodes, np.zeros((2, 2))).tolist() == [1, 0]
    assert decoder.decode(nodes).tolist() == [1, 1]


def test_no_steps_have_no_labels():
    labels = ViterbiDecoder(np.eye(3), starts=[0]).decode(np.zeros((0, 3)))
    assert labels.shape == (0,) and labels.dtype.kind == "i"


def test_bad_transitions_are_refused():
    for shape in ((3,), (2, 3), (3, 3, 1), (0, 0)):
        with pytest.raises(ValueError, match="Received: trans of shape"):
            ViterbiDecoder(np.zeros(shape))
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="Received: trans="):
            ViterbiDecoder([[0.0, bad], [0.0, 0.0]])
    with pytest.raises(ValueError, match="Received: trans='abc'"):
        ViterbiDecoder("abc")
    with pytest.raises(ValueError, match="Received: trans=None"):
        ViterbiDecoder().decode(np.zeros((4, 3)))


def test_labels_that_do_not_exist_are_refused():
    for name in ("starts", "ends"):
        for bad in (3, -1, 1.5, True):
            with pytest.raises(ValueError, match=f"Received: {name}={bad}"):
                ViterbiDecoder(np.eye(3), **{name: [0, bad]})
        with pytest.raises(ValueError, match=rf"Received: {name}=\[\]"):
            ViterbiDecoder(np.eye(3), **{name: []})
        with pytest.raises(ValueError, match=f"Received: {name}=2"):
            ViterbiDecoder(**{name: [2]}).decode(np.eye(2), np.eye(2))


def test_bad_nodes_are_refused():
    decoder = ViterbiDecoder(np.eye(3))
    for shape in ((3,), (4, 2), (2, 4, 3)):
        with pytest.raises(ValueError, match="Received: nodes of shape"):
            decoder.decode(np.zeros(shape))
    nodes = np.zeros((4, 3))
    for bad in (np.nan, np.inf):
        nodes[1, 2] = bad
        with pytest.raises(ValueError, match="Received: nodes="):
            decoder.decode(nodes)


def test_padding_and_contradictions_are_refused():
    padded = np.array([[1.0, 2.0, 3.0], [NEVER] * 3])
    with pytest.raises(ValueError, match="cut padding off.*Received: nodes="):
        ViterbiDecoder(np.eye(3)).decode(padded)
    with pytest.raises(ValueError, match="Received: nodes="):
        ViterbiDecoder(np.eye(3), [0], [1]).decode(np.zeros((1, 3)))
