"""What passes as a number or a switch, and the words for what does not."""

import numpy as np
import pytest

from su_models.ops.check_number import check_bool, check_share, check_size


def test_right_numbers_become_python_numbers():
    assert type(check_size("units", np.int64(3))) is int
    assert check_size("units", None, optional=True) is None
    assert type(check_share("rate", np.float32(0.5))) is float
    assert check_share("rate", 0) == 0.0


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "3", None])
def test_wrong_sizes_are_refused(size):
    with pytest.raises(ValueError, match="`units`.*Received: units="):
        check_size("units", size)


@pytest.mark.parametrize("share", [1, 1.5, -0.1, float("nan"), "a", None, True])
def test_wrong_shares_are_refused(share):
    with pytest.raises(ValueError, match="`rate`.*Received: rate="):
        check_share("rate", share)


@pytest.mark.parametrize("value", [0, 1, None, "yes"])
def test_what_is_no_switch_is_refused(value):
    assert check_bool("hard", True) is True
    with pytest.raises(ValueError, match="`hard`.*Received: hard="):
        check_bool("hard", value)
