import pytest

from su_models.tasks import quatrains
from su_models.tasks.quatrain_form import lines_of
from su_models.tasks.quatrains import SPECIALS, load_quatrains, vocabulary
from tests.tasks.poems import invented, use


@pytest.fixture(autouse=True)
def _poems(monkeypatch):
    use(monkeypatch)
    yield
    load_quatrains.cache_clear()


def test_quatrains_and_halves_of_poems_of_eight_lines_are_found():
    poems = invented()["all"]
    rows = [*zip(poems["title"], poems["text"], strict=True)]
    eight = rows[4]
    rows = [row for i, row in enumerate(rows) if i not in (3, 4, 5)]
    halves = [(eight[0], eight[1][:32]), (eight[0], eight[1][32:])]
    for flag, wanted in ((True, [*rows, *halves]), (False, rows)):
        splits = load_quatrains(flag)
        found = [*splits["train"], *splits["test"]]
        assert sorted(found) == sorted(wanted)
        assert len(splits["test"]) == 3  # 5 % of 57
        assert not {*splits["test"]} & {*halves}
    assert all(lines_of(poem) for _, poem in found)


def test_a_held_out_poem_is_not_trained_on(monkeypatch):
    poems = invented()
    test = load_quatrains()["test"]
    for title in ("天", "地"):  # again, under other titles
        poems["all"]["title"] += [title] * len(test)
        poems["all"]["text"] += [
            poem + poem if title == "地" else poem for _, poem in test
        ]
        poems["all"]["collection"] += ["tang"] * len(test)
    monkeypatch.setattr(quatrains, "load", lambda name: poems)
    load_quatrains.cache_clear()
    splits = load_quatrains()
    assert splits["test"] == test
    train = {poem for _, poem in splits["train"]}
    assert not train & {poem for _, poem in test}


def test_titles_and_poems_are_simplified(monkeypatch):
    before = load_quatrains()
    swapped = str.maketrans("天地", "地天")
    monkeypatch.setattr(
        quatrains,
        "simplifier",
        lambda: lambda texts: [text.translate(swapped) for text in texts],
    )
    load_quatrains.cache_clear()
    for name, pairs in load_quatrains().items():
        assert pairs == [
            tuple(text.translate(swapped) for text in pair)
            for pair in before[name]
        ]


def test_a_poem_with_an_unknown_simplified_character_is_left_out(monkeypatch):
    before = load_quatrains()
    monkeypatch.setattr(
        quatrains,
        "simplifier",
        lambda: (
            lambda texts: [text.replace("盈", "\U0002ceb8") for text in texts]
        ),
    )
    load_quatrains.cache_clear()
    after = load_quatrains()
    counts = [sum(map(len, splits.values())) for splits in (before, after)]
    assert 0 < counts[1] < counts[0]
    assert all(lines_of(p) for pairs in after.values() for _, p in pairs)


def test_the_vocabulary_is_that_of_frequent_characters():
    pairs = [("天 a天", "玄黄，"), ("天", "黄宇。")]
    assert vocabulary(pairs) == [*SPECIALS, "天", "黄", "宇", "玄"]
    assert vocabulary(pairs, min_count=2) == [*SPECIALS, "天", "黄"]
    assert len({*vocabulary(load_quatrains()["train"])}) > 20


@pytest.mark.slow
@pytest.mark.data
def test_the_real_quatrains(monkeypatch):
    pytest.importorskip("opencc", reason="the extra opencc")
    monkeypatch.undo()
    load_quatrains.cache_clear()
    splits = load_quatrains()
    assert len(splits["train"]) > 50_000 and len(splits["test"]) > 500
    assert all(lines_of(p) for pairs in splits.values() for _, p in pairs)
