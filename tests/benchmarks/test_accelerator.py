"""Peaks of accelerators."""

import pytest

from benchmarks.common.accelerator import PEAKS, peaks, share


def test_the_table_has_the_numbers_of_the_data_sheets():
    assert peaks("NVIDIA H200") == (989e12, 4.8e12)
    assert peaks("NVIDIA A100-SXM4-80GB") == (312e12, 2.039e12)
    assert peaks("NVIDIA L4") == (121e12, 300e9)


def test_the_units_of_all_are_the_same():
    for flops, bandwidth in PEAKS.values():
        assert 1e14 < flops < 1e15 and 2e11 < bandwidth < 1e13
        # the products a byte must be used for, to be limited by them
        assert 100 < flops / bandwidth < 500


@pytest.mark.parametrize("kind", ["cpu", "NVIDIA H200 MIG 1g.18gb", "NVIDIA"])
def test_the_peaks_of_other_devices_are_not_known(kind):
    assert peaks(kind) == (None, None)
    assert share(3.0, peaks(kind)[0]) is None


def test_given_peaks_take_precedence():
    assert peaks("cpu", bandwidth=2e10) == (None, 2e10)
    assert peaks("NVIDIA H200", flops=5e14) == (5e14, 4.8e12)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_peaks_that_are_not_positive_are_rejected(value):
    with pytest.raises(ValueError, match="Received: flops="):
        peaks("cpu", flops=value)
    with pytest.raises(ValueError, match="Received: bandwidth="):
        peaks("cpu", bandwidth=value)


def test_a_share_is_a_quotient():
    assert share(3.0, 4.0) == 0.75
