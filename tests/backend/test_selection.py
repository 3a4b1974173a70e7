import keras
import pytest

from su_models.backend.selection import backend_name, require_backend, runs_on

BACKEND = keras.config.backend()


def test_the_backend_that_runs_is_known():
    assert runs_on("other", BACKEND)
    assert not runs_on("other")
    assert backend_name() == BACKEND


def test_a_backend_that_has_the_feature_goes_on():
    require_backend("Flying", "other", BACKEND)


def test_a_backend_without_the_feature_is_refused():
    match = f"Flying needs the backend one or two. Received: backend={BACKEND}"
    with pytest.raises(NotImplementedError, match=match):
        require_backend("Flying", "one", "two")
