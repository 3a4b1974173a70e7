"""BERT, the base class of most families."""

from su_models.layers.merging.add import Add
from su_models.layers.normalization.scale_offset import ScaleOffset
from su_models.layers.pooling.first_token import FirstToken
from su_models.layers.position.position_embedding import PositionEmbedding
from su_models.models.transformer.base import Transformer
from su_models.utils.checks import check_flag, check_integer, check_size


class BERT(Transformer):
    """BERT and RoBERTa: absolute positions, post-norm blocks.

    Article: https://kexue.fm/archives/6736
        《当Bert遇上Keras：这可能是Bert最简单的打开姿势》
    Paper: https://arxiv.org/abs/1810.04805

    Args:
        max_position: int > 0. Rows of the position embedding.
        segment_vocab_size: int >= 0. Number of segments; 0 removes their
            input.
        with_pool: False; True for a dense layer with tanh over the first
            token; or the name of its activation.
        with_nsp: bool. Whether next-sentence prediction follows the pooling.
        with_mlm: False; True for probabilities of masked tokens; or the name
            of the activation, such as "linear" for logits.
        hierarchical_position: None; or True or α for positions up to
            `max_position`² (article 7947).
        custom_position_ids: bool. Whether positions are an input.
        shared_segment_embeddings: bool. Whether segments are looked up in
            the token embedding.
        **kwargs: arguments of `Transformer`.

    The outputs are the requested heads, or the hidden states.
    """

    epsilon = 1e-12

    def __init__(
        self,
        max_position=512,
        segment_vocab_size=2,
        with_pool=False,
        with_nsp=False,
        with_mlm=False,
        hierarchical_position=None,
        custom_position_ids=False,
        shared_segment_embeddings=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.max_position = check_size("max_position", max_position)
        self.segment_vocab_size = check_integer(
            "segment_vocab_size", segment_vocab_size, least=0
        )
        self.with_nsp = check_flag("with_nsp", with_nsp)
        self.with_pool = with_pool or with_nsp
        self.with_mlm = with_mlm
        self.hierarchical_position = hierarchical_position
        self.custom_position_ids = check_flag(
            "custom_position_ids", custom_position_ids
        )
        self.shared_segment_embeddings = check_flag(
            "shared_segment_embeddings", shared_segment_embeddings
        )

    def get_inputs(self):
        inputs = [self.input("Input-Token")]
        if self.segment_vocab_size:
            inputs.append(self.input("Input-Segment"))
        if self.custom_position_ids:
            inputs.append(self.input("Input-Position"))
        return inputs

    @property
    def position_ids(self):
        """The input of positions, or None."""
        if not self.custom_position_ids:
            return None
        return self.inputs[2 if self.segment_vocab_size else 1]

    def apply_embeddings(self, inputs):
        x = self.positions(self.tokens_and_segments(inputs))
        x = self.norm(x, "Embedding-Norm")
        x = self.dropout(x, "Embedding-Dropout")
        return self.mapping(x, self.hidden_size, "Embedding-Mapping")

    def tokens_and_segments(self, inputs):
        """Returns the sum of both embeddings."""
        x = self.tokens(inputs[0])
        if not self.segment_vocab_size:
            return x
        if self.shared_segment_embeddings:
            segments = self.apply(name="Embedding-Token")(inputs[1])
        else:
            size = self.segment_vocab_size
            segments = self.embedding(inputs[1], "Embedding-Segment", size)
        return self.apply([x, segments], Add, name="Embedding-Token-Segment")

    def positions(self, x):
        """Returns the sum of x and the embeddings of positions."""
        ids = self.position_ids
        return self.apply(
            x,
            PositionEmbedding,
            None if ids is None else {"positions": ids},
            input_dim=self.max_position,
            output_dim=self.embedding_size,
            hierarchical=self.hierarchical_position,
            embeddings_initializer=self.initializer,
            name="Embedding-Position",
        )

    def apply_final_layers(self, inputs):
        heads = []
        if self.with_pool:
            heads.append(self.pool(inputs))
        if self.with_mlm:
            heads.append(self.masked_language_model(inputs))
        if not heads:
            return inputs
        return heads if len(heads) > 1 else heads[0]

    def pool(self, x):
        """Returns the pooled first token, or the next-sentence prediction."""
        x = self.apply(x, FirstToken, name="Pooler")
        act = "tanh" if self.with_pool is True else self.with_pool
        x = self.dense(x, self.hidden_size, "Pooler-Dense", activation=act)
        if self.with_nsp:
            x = self.dense(x, 2, "NSP-Proba", activation="softmax")
        return x

    def masked_language_model(self, x):
        """Returns the scores of all tokens at each position."""
        x = self.dense(
            x, self.embedding_size, "MLM-Dense", activation=self.hidden_act
        )
        x = self.tied_logits(self.norm(x, "MLM-Norm"))
        x = self.apply(x, ScaleOffset, scale=False, name="MLM-Bias")
        return self.activation(x, self.with_mlm, "MLM-Activation")
