"""Coefficients of DeepNorm for residuals and initial weights by depth."""

from su_models.utils.checks import check_choice, check_integer

# rule: (p, q) with α = (2N)^p and β = (2N)^-q
_AUTHOR = {
    "sgd": (1 / 4, 1 / 4),
    "adam": (1 / 2, 1 / 2),
    "lamb": (0, 1 / 2),
}


def deep_norm_coefficients(encoder_layers=0, decoder_layers=0, rule="deepnet"):
    """Returns α and β of DeepNorm for encoder and decoder.

    Article: https://kexue.fm/archives/8978
        《训练1000层的Transformer究竟有什么困难？》
    Paper: https://arxiv.org/abs/2203.00555

    α is the argument of `su_models.layers.DeepNorm`. β multiplies the
    initial Xavier weights of the feed-forward layers and of the value and
    output projections of attention; queries and keys are not scaled. In
    Keras: `keras.initializers.VarianceScaling(β**2, "fan_avg", "uniform")`.

    For N layers, each with attention and feed-forward network, a step of the
    optimizer changes the output equally at every depth if

        rule        α           β
        "deepnet"   (2N)^(1/4)  (8N)^(-1/4)     the paper's
        "sgd"       (2N)^(1/4)  (2N)^(-1/4)     Eq. (14)
        "adam"      (2N)^(1/2)  (2N)^(-1/2)     Eq. (15)
        "lamb"      1           (2N)^(-1/2)

    The last three rules are the author's, with β for his λ: a step of SGD
    changes the loss in proportion to ‖∇L‖², a step of Adam in proportion to
    ‖∇L‖₁, and LAMB also scales with the size of the weights. For an encoder
    of N layers with a decoder of M layers, only the paper gives a rule:
    0.81 (N⁴M)^(1/16) and 0.87 (N⁴M)^(-1/16) for the encoder, (3M)^(1/4) and
    (12M)^(-1/4) for the decoder.

    Args:
        encoder_layers: int >= 0. N, or 0 without an encoder.
        decoder_layers: int >= 0. M, or 0 without a decoder.
        rule: `"deepnet"`, `"sgd"`, `"adam"` or `"lamb"`.

    Returns:
        `(encoder, decoder)`, each a pair `(α, β)` of floats, or None if that
        stack has no layers.

    Raises:
        ValueError: if there are no layers, or one of the author's rules is
            requested for an encoder with a decoder.

    Example:

    >>> encoder, _ = su_models.ops.deep_norm_coefficients(100, rule="adam")
    >>> alpha, beta = encoder
    >>> norm = su_models.layers.DeepNorm(alpha)
    >>> print(f"{alpha:.4f} {beta:.4f}")
    14.1421 0.0707
    """
    n = check_integer("encoder_layers", encoder_layers, least=0)
    m = check_integer("decoder_layers", decoder_layers, least=0)
    if not n and not m:
        raise ValueError(
            "There must be at least one layer. Received: "
            f"encoder_layers={encoder_layers}, decoder_layers={decoder_layers}"
        )
    check_choice("rule", rule, ("deepnet", *_AUTHOR))
    if n and m:
        if rule != "deepnet":
            raise ValueError(
                "With an encoder and a decoder, the only rule is 'deepnet'. "
                f"Received: rule={rule!r}"
            )
        size = (n**4 * m) ** (1 / 16)
        encoder = 0.81 * size, 0.87 / size
        return encoder, ((3 * m) ** (1 / 4), (12 * m) ** (-1 / 4))
    count = n or m
    if rule == "deepnet":
        stack = (2 * count) ** (1 / 4), (8 * count) ** (-1 / 4)
    else:
        p, q = _AUTHOR[rule]
        stack = float((2 * count) ** p), (2 * count) ** -q
    return (stack, None) if n else (None, stack)
