"""FLOPs and bytes that a RoFormer language model needs, from its sizes.

Sizes are a dict with `vocab_size` V, `hidden_size` d, `num_hidden_layers` L
and `intermediate_size` m, as for `build_transformer_model`.
"""


def product_weights(sizes):
    """Returns the number of weights that each token is multiplied by.

    L (4d² + 2dm) of the blocks (q, k, v, o; feed-forward network), d² of the
    dense layer of the head, and dV of the logits. Looking up an embedding is
    not a product.

    Args:
        sizes: the sizes of the model.
    """
    d, m = sizes["hidden_size"], sizes["intermediate_size"]
    blocks = sizes["num_hidden_layers"] * (4 * d * d + 2 * d * m)
    return blocks + d * d + d * sizes["vocab_size"]


def training_flops(sizes, length):
    """Returns the model FLOPs of a training step for each token.

    A weight costs a product and a sum forward, and twice that backward: 6.
    Scores q·k and weighted sums of v cost 2 · 2dn forward in each layer, so
    12Ldn with the gradient. As usual, all n² pairs count, although the mask
    is causal. Elementwise work and recomputation do not count.

    Args:
        sizes: the sizes of the model.
        length: int, n.
    """
    d, layers = sizes["hidden_size"], sizes["num_hidden_layers"]
    return 6 * product_weights(sizes) + 12 * layers * d * length


def read_weights(sizes):
    """Returns the number of parameters that decoding reads in each step.

    All but the embedding of segments: products with their biases, the two
    parameters of each normalization (2 in a block, after the embedding, and
    in the head), and the bias of the logits. The token embedding is counted
    once, for the logits.

    Args:
        sizes: the sizes of the model.
    """
    d, m = sizes["hidden_size"], sizes["intermediate_size"]
    biases = sizes["num_hidden_layers"] * (4 * d + m + d) + d
    norms = 2 * d * (2 * sizes["num_hidden_layers"] + 2)
    return product_weights(sizes) + biases + norms + sizes["vocab_size"]


def cache_entries(sizes, context):
    """Returns the number of entries of keys and values, 2Ldn, of a sequence.

    Args:
        sizes: the sizes of the model.
        context: number of tokens, n.
    """
    d, layers = sizes["hidden_size"], sizes["num_hidden_layers"]
    return 2 * layers * d * context


def decoding_bytes(sizes, batch, context, bytes_each=2):
    """Returns the bytes that a step of decoding must read.

    The weights once, whatever the batch, and the keys and values of each
    sequence. A program that reads more, such as slots that are not filled
    yet, uses more of the bandwidth than this tells.

    Args:
        sizes: the sizes of the model.
        batch: int, the number of sequences.
        context: mean number of tokens that a sequence has.
        bytes_each: bytes of a number, 2 in bfloat16.
    """
    entries = batch * cache_entries(sizes, context)
    return bytes_each * (read_weights(sizes) + entries)
