"""TensorFlow's start-up lines are dropped; all else passes."""

import os
import pathlib
import pty
import shutil
import signal
import subprocess
import sys

import pytest

SCRIPT = pathlib.Path(__file__).parent.parent.parent / "tools" / "quiet.sh"

STDERR = b"""\
WARNING: All log messages before absl::InitializeLog() is called are written
I0000 00:00:1795212642.495797    5113 port.cc:153] oneDNN operations are on
W0000 00:00:1795212642.495797    5113 cpu_feature_guard.cc:227] instructions
UserWarning: this one is ours
E0000 00:00:1795212702.744838    6031 cuda_platform.cc:52] failed call
bytes that are no UTF-8: \xff\xfe\x00.
"""

INTERRUPTED = """
import sys, time
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.2)
    sys.exit("last words")
"""

# a shell makes the commands that it runs with `&` deaf: undo it
HEED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""

pytestmark = pytest.mark.skipif(
    shutil.which("bash") is None, reason="bash is not installed"
)


def quiet(*command, **more):
    return subprocess.run(
        ["bash", SCRIPT, *command], capture_output=True, **more
    )


def test_only_start_up_lines_are_dropped():
    run = quiet("bash", "-c", "cat >&2; exit 3", input=STDERR)
    assert run.returncode == 3
    assert run.stderr.splitlines() == STDERR.splitlines()[3:]
    assert run.stdout == b""


def test_standard_output_passes_as_it_is():
    run = quiet("cat", input=STDERR)
    assert (run.returncode, run.stdout, run.stderr) == (0, STDERR, b"")


def test_all_is_written_before_the_end(tmp_path):
    # a file, not a pipe: nothing waits for a filter that writes later
    for status in range(100):
        with open(tmp_path / "stderr", "wb") as stderr:
            run = subprocess.run(
                ["bash", SCRIPT, "bash", "-c", f"seq 50 >&2; exit {status}"],
                stderr=stderr,
            )
        assert run.returncode == status
        lines = (tmp_path / "stderr").read_text().split()
        assert lines == [str(i) for i in range(1, 51)]


def test_terminal_stays_a_terminal():
    ours, theirs = pty.openpty()
    try:
        run = subprocess.run(["bash", SCRIPT, "test", "-t", "1"], stdout=theirs)
    finally:
        os.close(theirs)
        os.close(ours)
    assert run.returncode == 0
    assert quiet("test", "-t", "1").returncode == 1


def test_last_words_after_an_interrupt_are_shown():
    process = subprocess.Popen(
        [sys.executable, "-c", HEED, "bash", SCRIPT]
        + [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout.readline() == b"ready\n"
    os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does
    _, stderr = process.communicate(timeout=30)
    assert stderr == b"last words\n"
    assert process.returncode == 1
