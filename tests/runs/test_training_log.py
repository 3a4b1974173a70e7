import numpy as np
import pytest

from su_models.runs.training_log import TrainingLog, read_history


def test_the_table_holds_each_epoch_once(tmp_path):
    log = TrainingLog(tmp_path / "history.csv")
    log.on_train_begin()
    assert not log.path.exists()  # nothing has been reported
    log.on_epoch_end(0, {"loss": 1.25, "kl": 3})
    log.on_epoch_end(1, {"loss": np.float32(0.5), "kl": 2})
    assert log.path.read_text().splitlines()[0] == "epoch,loss,kl,seconds"
    again = TrainingLog(log.path)
    again.rows = log.rows[:1]  # the backup is of the first epoch
    again.on_train_begin()
    assert read_history(tmp_path)["epoch"].tolist() == [0]
    again.on_epoch_end(1, {"loss": 0.25, "kl": 2})
    columns = read_history(tmp_path)
    assert [*columns] == ["epoch", "loss", "kl", "seconds"]
    assert columns["epoch"].tolist() == [0, 1]
    assert columns["loss"].tolist() == [1.25, 0.25]


def test_seconds_add_up_over_interruptions(tmp_path):
    log = TrainingLog(tmp_path / "history.csv")
    log.rows = [{"epoch": 0, "loss": 1.0, "seconds": 100.0}]
    log.on_train_begin()
    log.on_epoch_end(1, {"loss": 1.0})
    assert 100 <= log.seconds < 160
    assert TrainingLog(log.path).seconds == 0


def test_numbers_that_are_not_finite_are_told(tmp_path):
    log = TrainingLog(tmp_path / "history.csv")
    log.on_train_begin()
    assert log.is_finite
    for value in float("nan"), float("inf"):
        log.on_epoch_end(0, {"loss": 1.0, "kl": value})
        assert not log.is_finite
    log.on_epoch_end(1, {"loss": 1.0, "kl": 0.0})
    assert log.is_finite


@pytest.mark.parametrize("torn", ["2,0.", "2", "", "2,0.3,1", "1,0.2,3,4,5"])
def test_torn_rows_are_left_out(tmp_path, torn):
    path = tmp_path / "history.csv"
    path.write_text(f"epoch,loss,kl,seconds\n0,1,2,3\n1,9,9,9\n1,2,3,4\n{torn}")
    columns = read_history(tmp_path)
    assert columns["epoch"].tolist() == [0, 1]
    assert columns["loss"].tolist() == [1, 2]


@pytest.mark.parametrize("text", [None, "", "epoch,loss,seconds\n", "\n0,x\n"])
def test_a_table_without_an_epoch_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "history.csv").write_text(text)
    with pytest.raises(ValueError, match="Received: .*history.csv"):
        read_history(tmp_path)
