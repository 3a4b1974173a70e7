"""A trie of token sequences, for constrained decoding."""

import numpy as np
from keras import ops

from su_models.utils.checks import is_integer


class Trie:
    """Allows only given sequences.

    Article: https://kexue.fm/archives/7867
        《那个屠榜的T5模型，现在可以在中文上玩玩了》

    Pass it as `allowed_tokens`. The generated tokens are a beginning of one
    of the sequences; after a whole sequence, `end_id` is allowed as well. Its
    memory is proportional to the number of its nodes.

    Args:
        sequences: list of lists of token ids, without `end_id`.

    Raises:
        ValueError: if there is no sequence, or one is empty or holds something
            other than integers >= 0.

    Example:

    >>> trie = su_models.generation.Trie([[3, 4], [3, 5, 6]])
    >>> trie.num_nodes
    5
    """

    def __init__(self, sequences):
        children, terminal = [{}], [False]
        for sequence in sequences:
            sequence = list(sequence)
            if not sequence or not all(
                is_integer(token) and token >= 0 for token in sequence
            ):
                raise ValueError(
                    "`sequences` must be lists of integers >= 0, at least one "
                    f"each. Received: sequences with {sequence}"
                )
            node = 0
            for token in sequence:
                new = children[node].setdefault(int(token), len(children))
                if new == len(children):
                    children.append({})
                    terminal.append(False)
                node = new
            terminal[node] = True
        if len(children) == 1:
            raise ValueError(
                "`sequences` must hold at least one sequence. Received: "
                f"sequences={sequences!r}"
            )
        edges = [edge for node in children for edge in sorted(node.items())]
        counts = np.array([len(node) for node in children])
        self.num_nodes = len(children)
        self.largest = max(token for token, _ in edges)
        self._terminal = np.array(terminal)
        self._width = int(counts.max())
        # node i has the edges first[i], ..., first[i] + count[i] - 1
        self._counts = counts.astype("int32")
        self._first = (counts.cumsum() - counts).astype("int32")
        self._tokens, self._children = np.array(edges, "int32").T

    def _edges(self, nodes):
        """Returns tokens, children and existence of edges, `(..., width)`."""
        j = ops.arange(self._width, dtype="int32")
        exists = j < ops.take(self._tensor("_counts"), nodes)[..., None]
        at = ops.take(self._tensor("_first"), nodes)[..., None] + j
        at = ops.minimum(at, len(self._tokens) - 1)
        tokens, children = (
            ops.take(self._tensor(name), at)
            for name in ("_tokens", "_children")
        )
        return tokens, children, exists

    def _tensor(self, name):
        return ops.convert_to_tensor(getattr(self, name))

    def allowed(self, nodes, size, end_id=None):
        """Returns which tokens may follow.

        Args:
            nodes: int32 `(batch, rows)`.
            size: int, the size of the vocabulary.
            end_id: optional int.

        Returns:
            Booleans `(batch, rows, size)`.
        """
        tokens, _, exists = self._edges(nodes)  # (b, rows, width)
        shape = ops.shape(nodes)
        rows = shape[0] * shape[1]
        # what does not exist goes to a column of its own
        tokens = ops.where(exists, tokens, size)
        row = ops.reshape(ops.arange(rows, dtype="int32"), (*shape, 1))
        at = ops.reshape(row * (size + 1) + tokens, (-1, 1))
        ones = ops.ones_like(at[:, 0])
        counts = ops.scatter(at, ones, (rows * (size + 1),))
        counts = ops.reshape(counts, (*shape, size + 1))
        mask = counts[..., :size] > 0
        if end_id is None:
            return mask
        end = ops.arange(size, dtype="int32") == end_id
        whole = ops.take(self._tensor("_terminal"), nodes)
        return mask | (whole[..., None] & end)

    def advance(self, nodes, tokens):
        """Returns the nodes after `tokens`; the root where there is none."""
        edges, children, exists = self._edges(nodes)
        found = exists & (edges == tokens[..., None])
        return ops.sum(ops.where(found, children, 0), axis=-1)
