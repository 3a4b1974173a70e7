"""TensorFlow's start-up lines are dropped; all else passes."""

import pathlib
import shutil
import subprocess

import pytest

SCRIPT = pathlib.Path(__file__).parent.parent.parent / "tools" / "quiet.sh"

STDERR = """\
WARNING: All log messages before absl::InitializeLog() is called are written
I0000 00:00:1795212642.495797    5113 port.cc:153] oneDNN operations are on
W0000 00:00:1795212642.495797    5113 cpu_feature_guard.cc:227] instructions
UserWarning: this one is ours
E0000 00:00:1795212702.744838    6031 cuda_platform.cc:52] failed call
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_only_start_up_lines_are_dropped():
    run = subprocess.run(
        ["bash", SCRIPT, "bash", "-c", 'printf "%s" "$0" >&2; exit 3', STDERR],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 3
    assert run.stderr.splitlines() == STDERR.splitlines()[3:]
