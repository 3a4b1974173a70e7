"""The nearest of known names, by edit distance."""

import pytest

from su_models.utils.nearest import edit_distance, nearest


@pytest.mark.parametrize(
    "a, b, distance",
    [
        ("", "", 0),
        ("", "abc", 3),
        ("abc", "", 3),
        ("kitten", "sitting", 3),
        ("abc", "acb", 2),
        ("flaw", "lawn", 2),
    ],
)
def test_edit_distance(a, b, distance):
    assert edit_distance(a, b) == distance
    assert edit_distance(b, a) == distance


def test_nearest_ignores_case():
    assert nearest("DDMP", ["Lookahead", "ddpm", "GELU"]) == "ddpm"
    assert nearest("x", []) is None
