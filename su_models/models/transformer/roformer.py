"""RoFormer: rotary positions."""

from su_models.layers.attention.multi_head_attention import MultiHeadAttention
from su_models.layers.position.position_ids import PositionIds
from su_models.models.transformer.nezha import NEZHA


class RoFormer(NEZHA):
    """A BERT whose queries and keys are rotated by their positions.

    Article: https://kexue.fm/archives/8265
        《Transformer升级之路：2、博采众长的旋转式位置编码》
    Paper: https://arxiv.org/abs/2104.09864

    The length is not limited; `max_position` is ignored.
    """

    rotary_base = 10000.0
    attention_layer = MultiHeadAttention
    position_argument = "positions"

    def compute_position_bias(self, inputs=None):
        if self.position_bias is None:
            ids = self.position_ids
            self.position_bias = self.apply(
                inputs,
                PositionIds,
                None if ids is None else {"positions": ids},
                name="Embedding-Rotary-Position",
            )
        return self.position_bias
