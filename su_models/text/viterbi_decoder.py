"""Viterbi decoding of the best sequence of labels."""

import numpy as np

from su_models.utils.checks import check_integer


class ViterbiDecoder:
    """Finds the path with the highest score by dynamic programming.

    Article: https://kexue.fm/archives/5542
        《简明条件随机场CRF介绍（附带纯Keras实现）》

    The score of labels y_1, ..., y_n is the exponent of Eq. (5):

        h(y_1) + Σ_(t=1)^(n-1) [g(y_t, y_(t+1)) + h(y_(t+1))]

    Each part of a best path is itself a best path, so n steps with `labels²`
    sums are enough. -inf forbids a transition, or a label at a step.

    The scores g are the attribute `trans` of a
    `su_models.layers.ConditionalRandomField` or `MaximumEntropyMarkovModel`,
    and h is one sequence of its outputs without the padding.

    Args:
        trans: g, `(labels, labels)`, from row to column. If None, it must be
            passed to `decode`. The attribute can be set between epochs.
        starts: labels that a path may start with. Defaults to all.
        ends: labels that a path may end with. Defaults to all.

    Raises:
        ValueError: if `trans` is not a square of numbers, or a label does
            not exist.

    Example:

    >>> never = -float("inf")
    >>> decoder = su_models.text.ViterbiDecoder(
    ...     trans=[[0.0, 0.5], [never, 2.0]], starts=[0]
    ... )
    >>> decoder.decode([[0.0, 9.0], [1.0, 0.0], [1.0, 0.8]]).tolist()
    [0, 1, 1]
    """

    def __init__(self, trans=None, starts=None, ends=None):
        self.starts = _checked_labels("starts", starts)
        self.ends = _checked_labels("ends", ends)
        self.trans = trans

    @property
    def trans(self):
        """The scores of transitions, or None."""
        return self._trans

    @trans.setter
    def trans(self, trans):
        self._trans = None if trans is None else self._checked_trans(trans)

    def decode(self, nodes, trans=None):
        """Returns the labels of the best path.

        Of several best paths, it returns the one with the smallest last
        label, then the smallest label before it, and so on.

        Args:
            nodes: h, `(length, labels)`. The array is not changed.
            trans: g for this call. Defaults to that of the decoder.

        Returns:
            Integers `(length,)`.

        Raises:
            ValueError: if there are no transitions, a shape or a number is
                wrong, or all paths have the score -inf.
        """
        trans = self._trans if trans is None else self._checked_trans(trans)
        if trans is None:
            raise ValueError(
                "`trans` must be given to the decoder or to `decode`. "
                f"Received: trans={trans}"
            )
        nodes = self._checked_nodes(nodes, len(trans))
        if not len(nodes):
            return np.zeros(0, "int64")
        back = np.empty((len(nodes), len(trans)), "int64")
        scores = nodes[0]  # (k,), score of the best path to each label
        for t in range(1, len(nodes)):
            paths = scores[:, None] + trans  # (k, k), from row to column
            back[t] = paths.argmax(axis=0)
            scores = paths.max(axis=0) + nodes[t]
        label = scores.argmax()
        if scores[label] == -np.inf:
            raise ValueError(
                "A path must have a score above -inf: cut padding off, and "
                "check what `starts`, `ends` and `trans` forbid. "
                f"Received: nodes={nodes}"
            )
        labels = np.empty(len(nodes), "int64")
        labels[-1] = label
        for t in range(len(nodes) - 1, 0, -1):
            labels[t - 1] = back[t, labels[t]]
        return labels

    def _checked_nodes(self, nodes, num_labels):
        """Returns a float64 copy of nodes, -inf where paths are forbidden."""
        nodes = _scores("nodes", nodes).copy()
        if nodes.ndim != 2 or nodes.shape[1] != num_labels:
            raise ValueError(
                f"`nodes` must be `(length, {num_labels})`. "
                f"Received: nodes of shape {nodes.shape}"
            )
        for labels, t in ((self.starts, 0), (self.ends, -1)):
            if labels is not None and len(nodes):
                allowed = np.isin(np.arange(num_labels), labels)
                nodes[t, ~allowed] = -np.inf
        return nodes

    def _checked_trans(self, trans):
        trans = _scores("trans", trans)
        if trans.ndim != 2 or len(trans) != trans.shape[1] or not len(trans):
            raise ValueError(
                "`trans` must be `(labels, labels)`. "
                f"Received: trans of shape {trans.shape}"
            )
        for name in ("starts", "ends"):
            for label in getattr(self, name) or ():
                check_integer(name, label, least=0, most=len(trans) - 1)
        return trans


def _checked_labels(name, labels):
    """Returns labels as a non-empty list, or None."""
    if labels is None:
        return None
    labels = [check_integer(name, label, least=0) for label in labels]
    if not labels:
        raise ValueError(
            f"`{name}` must be at least one label, or None. "
            f"Received: {name}={labels}"
        )
    return labels


def _scores(name, scores):
    """Returns scores as a float64 array; rejects NaN and +inf."""
    try:
        array = np.asarray(scores, "float64")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` must be numbers. Received: {name}={scores!r}"
        ) from error
    if np.isnan(array).any() or (array == np.inf).any():
        raise ValueError(
            f"`{name}` must be numbers or -inf. Received: {name}={array}"
        )
    return array
