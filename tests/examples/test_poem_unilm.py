"""Article: https://kexue.fm/archives/6933

The parts of the example: its text, its picture, its baseline.
"""

import pathlib

import matplotlib
import pytest

from su_models.tasks import poem_writing
from su_models.tasks.quatrain_form import lines_of
from su_models.tasks.quatrains import load_quatrains
from tests.examples.test_ddpm_digits import example
from tests.tasks.poems import numbers, tiny, use

POEMS = example("poem_unilm")
TITLES = ["春晓", "送别"]
TWO = [
    "天地玄黄宇，宙洪荒日月。盈昃辰宿列，张寒来暑往。",
    "天地玄黄宇宙洪，宙洪荒日月盈昃。盈昃辰宿列张寒，张寒来暑往秋收。",
]
LATIN = pathlib.Path(
    matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"
)


@pytest.fixture
def data(monkeypatch):
    use(monkeypatch)
    poem_writing._numbers_of.cache_clear()
    monkeypatch.setattr(poem_writing, "rhyme_numbers", numbers)
    yield
    load_quatrains.cache_clear()
    poem_writing._numbers_of.cache_clear()


def test_each_couplet_is_a_line_of_text():
    text = POEMS.as_text(TITLES, TWO)
    first, second = text.split("\n\n")
    assert first.split("\n") == ["《春晓》", TWO[0][:12], TWO[0][12:]]
    assert second.strip().split("\n") == ["《送别》", TWO[1][:16], TWO[1][16:]]


def test_a_picture_is_drawn_with_any_font():
    titles, poems = ["a"] * 5, ["b. c"] * 5
    picture = POEMS.as_picture(titles, poems, LATIN)
    assert picture.startswith(b"\x89PNG") and len(picture) > 2000


def test_characters_that_the_font_lacks_become_question_marks():
    rare, known = (
        POEMS.as_picture(["a"], [text], LATIN) for text in ("b𬭭。", "b??")
    )
    assert rare == known  # matplotlib's warning would be an error, too


def test_a_font_without_chinese_characters_is_not_taken(monkeypatch):
    fonts = POEMS.font_manager.fontManager.ttflist
    latin = [font for font in fonts if "DejaVu" in font.fname]
    monkeypatch.setattr(POEMS.font_manager.fontManager, "ttflist", latin)
    assert latin and POEMS.chinese_font() is None


@pytest.mark.slow
def test_the_whole_on_invented_poems(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(POEMS, "TASK", tiny())
    monkeypatch.setattr(POEMS, "export_saved_model", lambda *arguments: None)
    POEMS.main(["--smoke"])
    folder = tmp_path / "runs" / "smoke-poem-unilm"
    poems = (folder / "poems.txt").read_text("utf-8").strip().split("\n\n")
    assert len(poems) == 3  # as many as are held out of so few
    for poem in poems:
        title, *lines = poem.split("\n")
        assert title[0] == "《" and lines_of("".join(lines))
    for name in ("metrics.json", "training.png", "model.keras"):
        assert (folder / name).exists(), name
    shown = capsys.readouterr().out
    for word in ("perplexity_of_frequencies", "rhyme_share_unconstrained"):
        assert word in shown

        assert word in shown


@pytest.mark.slow
@pytest.mark.data
def test_smoke_run_on_the_real_poems(tmp_path, monkeypatch, capsys):
    pytest.importorskip("opencc", reason="the extra poems")
    pytest.importorskip("pypinyin", reason="the extra poems")
    monkeypatch.chdir(tmp_path)
    load_quatrains.cache_clear()
    POEMS.main(["--smoke"])
    text = (tmp_path / "runs/smoke-poem-unilm/poems.txt").read_text("utf-8")
    assert text.count("《") == 20
