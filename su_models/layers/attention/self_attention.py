"""What the sparse layers share: the call form of self-attention."""

from su_models.layers.attention.masks import split_attention_mask
from su_models.layers.attention.projections import _ProjectedAttention
from su_models.utils.checks import check_shape


class _SelfAttention(_ProjectedAttention):
    """Self-attention that gathers its masks instead of making one of n².

    A subclass has `_attend(q, k, v, **masks)`, which calls one of
    `su_models.ops` with its own sizes.
    """

    def call(
        self,
        query,
        value=None,
        key=None,
        mask=None,
        query_mask=None,
        value_mask=None,
        key_mask=None,
        attention_mask=None,
        positions=None,
        use_causal_mask=False,
        training=None,
    ):
        if positions is not None and self.rotary_base is None:
            raise ValueError(
                "`positions` are rotated, so they need a `rotary_base`. "
                f"Received: positions={positions}, rotary_base=None"
            )
        if value is None:
            if key is not None:
                raise ValueError(
                    "`key` needs a `value`. Received: key without value"
                )
            key_masks = {"mask": mask, "query_mask": query_mask}
        else:
            key_masks = {"value_mask": value_mask, "key_mask": key_mask}
        value = query if value is None else value
        key = value if key is None else key
        for name, x, dense in (
            ("query", query, self.query_dense),
            ("value", value, self.value_dense),
            ("key", key, self.key_dense),
        ):
            features = dense.kernel.shape[0]
            check_shape(name, x, (*query.shape[:2], features))
        key_mask, pair_mask = split_attention_mask(
            query.shape, key.shape, attention_mask, key_masks
        )
        q, k, v = self._project(query, value, key)
        context = self._attend(
            self._rotate(q, positions),
            self._rotate(k, positions),
            v,
            causal=use_causal_mask,
            key_mask=key_mask,
            pair_mask=pair_mask,
            drop=lambda weights: self._drop(weights, training),
        )
        return self._merge(context)

    def compute_output_shape(
        self, query_shape, value_shape=None, key_shape=None
    ):
        return (*query_shape[:-1], self.output_dim or query_shape[-1])
