"""Greedy search."""

from keras import ops

from su_models.generation.base import RowSearch


class GreedySearch(RowSearch):
    """Takes the most probable token in each step.

    Article: https://kexue.fm/archives/6933
        《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》

    Arguments, call arguments and result are those of
    `su_models.generation.base.Search`.

    Example:

    >>> def step(tokens, cache, index):
    ...     return keras.ops.one_hot(tokens + 1, 5), cache
    >>> search = su_models.generation.GreedySearch(max_new_tokens=3, end_id=3)
    >>> ids = search(step, tokens=keras.ops.array([0]), cache=()).ids
    >>> keras.ops.convert_to_numpy(ids).tolist()
    [[[1, 2, 3]]]
    """

    def pick(self, log_probs, state):
        return ops.argmax(log_probs, axis=-1)
