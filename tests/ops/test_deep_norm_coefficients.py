"""Article: https://kexue.fm/archives/8978"""

import pytest

from su_models.ops import deep_norm_coefficients


def test_one_stack_has_the_paper_s_table():
    for n in (1, 6, 12, 24, 100):
        stack = (2 * n) ** 0.25, (8 * n) ** -0.25
        assert deep_norm_coefficients(n) == (pytest.approx(stack), None)
        assert deep_norm_coefficients(decoder_layers=n) == (
            None,
            pytest.approx(stack),
        )
    (alpha, beta), _ = deep_norm_coefficients(6)
    assert (round(alpha, 4), round(beta, 4)) == (1.8612, 0.3799)


def test_encoder_and_decoder_have_the_paper_s_table():
    for n in (1, 6, 12, 24, 100):
        for m in (1, 6, 12, 24, 100):
            encoder, decoder = deep_norm_coefficients(n, m)
            size = (n**4 * m) ** 0.0625
            assert encoder == pytest.approx((0.81 * size, 0.87 / size))
            assert decoder == pytest.approx(
                ((3 * m) ** 0.25, (12 * m) ** -0.25)
            )
    encoder, decoder = deep_norm_coefficients(6, 6)
    assert encoder == pytest.approx((1.4179, 0.4970), abs=1e-4)
    assert decoder == pytest.approx((2.0598, 0.3433), abs=1e-4)


@pytest.mark.parametrize(
    ("rule", "alpha", "beta"),
    [
        ("sgd", 8**0.25, 8**-0.25),  # Eq. (14)
        ("adam", 8**0.5, 8**-0.5),  # Eq. (15)
        ("lamb", 1.0, 8**-0.5),
    ],
)
def test_the_author_s_rules_of_4_layers(rule, alpha, beta):
    expected = pytest.approx((alpha, beta))
    assert deep_norm_coefficients(4, rule=rule) == (expected, None)
    assert deep_norm_coefficients(0, 4, rule=rule) == (None, expected)


def test_each_rule_makes_a_step_independent_of_depth():
    """The scale that the article asks for: β/α, and β²/α for LAMB."""
    for n in (1, 7, 50):
        for rule, expected in (
            ("deepnet", (4 * n) ** -0.5),
            ("sgd", (2 * n) ** -0.5),
            ("adam", 1 / (2 * n)),
        ):
            (alpha, beta), _ = deep_norm_coefficients(n, rule=rule)
            assert beta / alpha == pytest.approx(expected)
        (alpha, beta), _ = deep_norm_coefficients(n, rule="lamb")
        assert beta**2 / alpha == pytest.approx(1 / (2 * n))


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (
            {},
            "at least one layer. Received: encoder_layers=0, decoder_layers=0",
        ),
        ({"encoder_layers": -1}, "Received: encoder_layers=-1"),
        ({"encoder_layers": 2.0}, "Received: encoder_layers=2.0"),
        ({"decoder_layers": True}, "Received: decoder_layers=True"),
        ({"encoder_layers": 2, "rule": "rmsprop"}, "Received: rule='rmsprop'"),
        (
            {"encoder_layers": 2, "decoder_layers": 2, "rule": "adam"},
            "only rule is 'deepnet'. Received: rule='adam'",
        ),
    ],
)
def test_bad_arguments_are_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        deep_norm_coefficients(**arguments)
