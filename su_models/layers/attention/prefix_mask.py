"""The prefix mask of UniLM, as a layer."""

import keras

from su_models.ops.attention_mask import prefix_mask


@keras.saving.register_keras_serializable(package="su_models")
class PrefixMask(keras.layers.Layer):
    """Makes attention bidirectional in a prefix and causal after it.

    Article: https://kexue.fm/archives/6933
        《从语言模型到Seq2Seq：Transformer如戏，全靠Mask》
    Paper: https://arxiv.org/abs/1905.03197

    One mask serves all blocks: pass it to an attention layer as
    `attention_mask`. The layer ignores padding.

    Call arguments:
        segment_ids: integers `(batch, n)`; 0 in the prefix, 1 after it.

    Returns:
        Booleans `(batch, n, n)`, True where a query may attend to a key.

    Raises:
        ValueError: if `segment_ids` are not integers of this shape.

    Example:

    >>> ids = keras.ops.array([[0, 0, 1]])
    >>> mask = su_models.layers.PrefixMask()(ids)
    >>> keras.ops.convert_to_numpy(mask)[0].tolist()
    [[True, True, False], [True, True, False], [True, True, True]]
    """

    def call(self, segment_ids):
        return prefix_mask(segment_ids)

    def compute_mask(self, segment_ids, mask=None):
        return None  # a mask is not a sequence

    def compute_output_spec(self, segment_ids):
        b, n = segment_ids.shape
        return keras.KerasTensor((b, n, n), "bool")
