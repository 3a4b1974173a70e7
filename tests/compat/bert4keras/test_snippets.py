import numpy as np
import pytest

from su_models.compat.bert4keras import snippets


def test_every_name_is_there():
    for name in snippets.__all__:
        assert hasattr(snippets, name), name


def test_arrays():
    assert snippets.to_array([1, 2]).tolist() == [1, 2]
    a, b = snippets.to_array([1], [[2]])
    assert (a.shape, b.shape) == ((1,), (1, 1))
    a = np.random.default_rng(0).normal(size=(4, 6))
    b = snippets.orthogonally_resize(a, (8, 3))
    assert b.shape == (8, 3)
    np.testing.assert_allclose(np.linalg.norm(b), np.linalg.norm(a))
    with pytest.raises(ValueError, match="Received: window=3"):
        snippets.orthogonally_resize(a, (8, 3), 3)


def test_truncation_shortens_the_longest_first():
    a, b = list(range(5)), list(range(10, 13))
    assert snippets.truncate_sequences(6, -2, a, b, None, []) == [a, b]
    assert (a, b) == ([0, 1, 4], [10, 11, 12])
    snippets.truncate_sequences(5, [0, -1], a, b)
    assert (a, b) == ([1, 4], [10, 11, 12])


def test_strings():
    assert snippets.is_string("a") and not snippets.is_string(b"a")
    assert snippets.convert_to_unicode("是".encode()) == "是"
    assert snippets.convert_to_str("是") == "是"
    assert snippets.lowercase_and_normalize("ÀB") == "ab"
    assert snippets.strQ2B("Ａ１，\u3000是") == "A1, 是"
    assert snippets.string_matching("layer/bias", ["Norm", "bias$"])
    assert not snippets.string_matching("layer/bias", ["Norm"])
    assert snippets.uniout is None and not snippets.is_py2


@pytest.mark.parametrize(
    ("text", "maxlen", "pieces"),
    [
        ("一二三", 5, ["一二三"]),
        ("一二。三四五。六", 4, ["一二", "三四五", "六"]),
        ("一，二三四，五六。七", 4, ["一", "二三四", "五六", "七"]),
        ("一。二。三。四。", 4, ["一。二", "三。四"]),
        ("一二三四五六", 3, ["一二三四五六"]),
        (" 一二。\n三四。 ", 4, ["一二", "三四"]),
        ("", 3, [""]),
    ],
)
def test_texts_are_cut_at_the_best_separators(text, maxlen, pieces):
    found = snippets.text_segmentate(text, maxlen, "\n。，", "，。")
    assert found == pieces


def test_longest_common_parts():
    length, (a, b, c, d) = snippets.longest_common_substring("xabcy", "zzabc")
    assert length == 3 and "xabcy"[a:b] == "zzabc"[c:d] == "abc"
    assert snippets.longest_common_substring("a", "b") == (0, (0, 0, 0, 0))
    length, pairs = snippets.longest_common_subsequence("axbycz", "abqc")
    assert length == 3 and pairs == [(0, 0), (2, 1), (4, 3)]
    assert snippets.longest_common_subsequence("", "b") == (0, [])


def test_identity_and_arguments():
    x, y = np.zeros(2), np.zeros(2)
    assert snippets.is_one_of(x, [y, x]) and not snippets.is_one_of(x, [y])

    class Base:
        @snippets.insert_arguments(rate=0.5)
        def __init__(self, size):
            self.size = size

    class Child(Base):
        @snippets.delete_arguments("rate")
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    base = Base(3, rate=0.1)
    assert (base.size, base.rate) == (3, 0.1)
    assert Child(3).rate == 0.5
    with pytest.raises(TypeError, match="Child got an unexpected .*'rate'"):
        Child(3, rate=0.1)
