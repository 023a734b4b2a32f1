"""Bars are drawn on a terminal only. Seen to fail: with bars drawn everywhere, and nowhere."""

import os
import pty
import subprocess
import sys

COUNT = [sys.executable, "-c", "from model.progress import steps; print(sum(steps(range(5), 5, 'pictures')))"]


def test_a_terminal_shows_a_bar() -> None:
    main, other = pty.openpty()
    child = subprocess.Popen(COUNT, stdout=subprocess.PIPE, stderr=other, env={**os.environ, "TERM": "xterm"})
    os.close(other)
    said = b""
    while part := _read(main):
        said += part
    assert child.communicate(timeout=60)[0] == b"10\n"
    os.close(main)
    assert b"pictures" in said
    assert b"100%" in said


def test_a_log_holds_no_bar() -> None:
    done = subprocess.run(COUNT, capture_output=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == (b"10\n", b"")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux says EIO when the other end is closed
        return b""
