import pytest

from su_models.utils.files import replacing


def test_failure_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"):
        with replacing(path) as new:
            new.write_text("half")
            raise RuntimeError("half way")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_success_replaces_and_keeps_the_ending(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("old")
    with replacing(str(path)) as new:
        assert new.name.endswith("model.keras") and new != path
        assert path.read_text() == "old"
        new.write_text("new")
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]
