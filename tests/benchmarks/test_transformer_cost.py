"""FLOPs and bytes of a language model, against the model."""

import keras
import numpy as np
import pytest

from benchmarks.common.transformer_cost import (
    cache_entries,
    decoding_bytes,
    product_weights,
    read_weights,
    training_flops,
)
from benchmarks.gpu import BASE, language_model
from su_models.layers import MultiHeadAttention

SIZES = {
    "vocab_size": 31,
    "hidden_size": 12,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "hidden_act": "gelu",
}
BATCH, LENGTH = 2, 5


@pytest.fixture(scope="module")
def model():
    return language_model(SIZES, "float32")


def slow_forward_flops(sizes, n):
    """Multiplications and sums of a forward pass of one sequence."""
    total = 0

    def product(rows, inner, columns):
        nonlocal total
        for _ in range(rows):
            for _ in range(columns):
                total += 2 * inner

    d, m = sizes["hidden_size"], sizes["intermediate_size"]
    heads = sizes["num_attention_heads"]
    for _ in range(sizes["num_hidden_layers"]):
        for _ in ("q", "k", "v", "o"):
            product(n, d, d)
        for _ in range(heads):
            product(n, d // heads, n)  # scores
            product(n, n, d // heads)  # sums of values
        product(n, d, m)
        product(n, m, d)
    product(n, d, d)
    product(n, d, sizes["vocab_size"])
    return total


@pytest.mark.parametrize("n", [1, 5, 8])
def test_flops_are_three_times_those_of_a_slow_count(n):
    forward = slow_forward_flops(SIZES, n)
    assert n * training_flops(SIZES, n) == 3 * forward


def test_flops_of_base_by_hand():
    # 85M weights in blocks, 0.6M in the dense layer, 9.2M for logits
    weights = 12 * 12 * 768**2 + 768**2 + 768 * 12000
    assert product_weights(BASE) == weights == 94_740_480
    by_hand = 6 * weights + 12 * 12 * 768 * 512
    assert training_flops(BASE, 512) == by_hand == 625_065_984


@pytest.mark.skipif(
    keras.config.backend() != "jax", reason="counts the products of a jaxpr"
)
def test_flops_are_those_of_the_traced_model(model):
    import jax.extend

    def flops(jaxpr):
        total = 0
        for equation in jaxpr.eqns:
            if equation.primitive.name == "dot_general":
                (axes, _), _ = equation.params["dimension_numbers"]
                inner = [equation.invars[0].aval.shape[i] for i in axes]
                (out,) = equation.outvars
                total += 2 * int(np.prod([*out.aval.shape, *inner]))
            for inner in jax.extend.core.jaxprs_in_params(equation.params):
                total += flops(inner)
        return total

    def forward(ids):
        return model([ids, ids * 0], training=True)

    ids = np.ones((BATCH, LENGTH), "int32")
    traced = flops(jax.make_jaxpr(forward)(ids).jaxpr)
    assert 3 * traced == BATCH * LENGTH * training_flops(SIZES, LENGTH)


def test_weights_read_are_all_but_the_segments(model):
    (segments,) = model.get_layer("Embedding-Segment").get_weights()
    assert read_weights(SIZES) == model.count_params() - segments.size


def test_the_cache_is_that_of_the_layers(model):
    found = [x for x in model.layers if isinstance(x, MultiHeadAttention)]
    assert len(found) == SIZES["num_hidden_layers"]
    entries = sum(
        int(np.prod(part.shape))
        for layer in found
        for part in layer.empty_cache(1, LENGTH)
    )
    assert cache_entries(SIZES, LENGTH) == entries


def test_bytes_of_a_step_by_hand():
    # in each layer 4 x 12² + 2 x 12 x 20 kernels, 4 x 12 + 20 + 12 biases and
    # 4 x 12 of norms; then the norm of embeddings, the head, the logits
    weights = 3 * (576 + 480 + 80 + 48) + 24 + (144 + 12 + 24) + 31 * 12 + 31
    cache = 2 * 3 * 12 * 7.5
    assert decoding_bytes(SIZES, 1, 7.5) == 2 * (weights + cache)
    assert decoding_bytes(SIZES, 4, 7.5) == 2 * (weights + 4 * cache)
    assert decoding_bytes(SIZES, 1, 7.5, 4) == 4 * (weights + cache)
