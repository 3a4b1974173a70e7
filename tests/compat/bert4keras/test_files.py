import json

import pytest

from su_models.compat.bert4keras.files import open

LINES = ["一\n", "two\n", "\n", "四"]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("".join(LINES), "utf-8")
    return path


def test_reading_is_that_of_python(path):
    with open(path, encoding="utf-8") as file:
        assert [*file] == LINES
        file.seek(0)
        assert file.read() == "".join(LINES)
        file.seek(0)
        assert (next(file), file.next()) == (LINES[0], LINES[1])
    assert file.closed
    with open(path, "rb") as file:
        assert file.read() == "".join(LINES).encode()
    assert not hasattr(file, "no_such_name")


def test_writing_and_json(tmp_path):
    path = tmp_path / "new.json"
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"a": 1}, file)
        file.flush()
    with open(path) as file:
        assert json.load(file) == {"a": 1}


def test_lines_by_number(path, tmp_path):
    index = tmp_path / "index.json"
    for indexable in (True, str(index), str(index)):
        with open(path, encoding="utf-8", indexable=indexable) as file:
            assert len(file) == 4
            assert [file[i] for i in (3, 0, 2, 1)] == [
                LINES[i] for i in (3, 0, 2, 1)
            ]
    assert len(json.loads(index.read_text())) == 4
