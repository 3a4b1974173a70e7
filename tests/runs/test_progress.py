from su_models.runs.progress import TrainingBar


def train(visible, capsys):
    bar = TrainingBar(total=8, done=4, visible=visible)
    bar.set_params({"steps": 2})
    with bar:
        for epoch in range(2):
            for batch in range(2):
                bar.on_train_batch_end(batch)
            bar.on_epoch_end(epoch, {"loss": 1.25})
    return capsys.readouterr().out


def test_bar_counts_from_where_an_earlier_run_stopped(capsys):
    out = train(True, capsys)
    assert "8/8" in out and "loss 1.250" in out


def test_invisible_bar_prints_nothing(capsys):
    assert train(False, capsys) == ""
