from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

from tests.fake_runner import environment, program

pytestmark = pytest.mark.usefixtures("place")


def on_terminal(arguments: list[str], cwd: Path, **more: str) -> tuple[str, int]:
    """Run a command on a terminal; give what it wrote there and its exit code."""
    ours, theirs = pty.openpty()
    settings = environment(**{"TERM": "xterm-256color"} | more)
    process = subprocess.Popen(arguments, env=settings, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    while True:
        try:
            said += os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
    os.close(ours)
    return said.decode(), process.wait(30)


def test_piped_text_has_no_control_codes_and_80_columns(place: Path) -> None:
    done = subprocess.run(program("1"), env=environment(), capture_output=True, cwd=place, check=False)

    assert done.returncode == 2
    assert b"\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout.decode()
    assert [line for line in done.stdout.decode().splitlines() if len(line) > 80 and "-d '{" not in line] == []


def test_force_color_colours_a_pipe_and_no_color_wins(place: Path) -> None:
    force = environment(FORCE_COLOR="1", TERM="xterm-256color")
    coloured = subprocess.run(program("1"), env=force, capture_output=True, cwd=place, check=False)
    plain = subprocess.run(program("1"), env={**force, "NO_COLOR": "1"}, capture_output=True, cwd=place, check=False)

    assert b"\x1b[32m" in coloured.stdout
    assert b"\x1b" not in plain.stdout


def test_on_a_terminal_lines_are_drawn_and_taken_away(place: Path) -> None:
    said, code = on_terminal(program("1", body="progress.phase('checks')"), place)

    assert code == 2
    assert "\x1b[?25l" in said
    assert said.rindex("\x1b[?25h") < said.index("Lab 2 · Building APIs with FastAPI\x1b[0m · 3 of 3")
    assert "\x1b[32m✓ pass" in said


def test_no_color_on_a_terminal(place: Path) -> None:
    said, _ = on_terminal(program("1"), place, NO_COLOR="1")

    assert not re.search(r"\x1b\[[\d;]*3[0-7]m", said)
    assert "✓ pass" in said


def test_a_dumb_terminal_gets_plain_text(place: Path) -> None:
    said, _ = on_terminal(program("1"), place, TERM="dumb")

    assert "\x1b" not in said


def test_a_terminal_without_our_signs_gets_ascii(place: Path) -> None:
    done = subprocess.run(
        program("1"), env=environment(PYTHONIOENCODING="ascii"), capture_output=True, cwd=place, check=False
    )

    assert b"  x FAIL   0/3  A caller's eleventh" in done.stdout
    assert done.returncode == 2


def test_the_cursor_comes_back_when_a_run_is_ended(place: Path) -> None:
    body = "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"
    said, code = on_terminal(program("1", body=body), place)

    assert code == 143
    assert said.rstrip().endswith("\x1b[?25h") or "\x1b[?25h" in said[said.rindex("\x1b[?25l") :]
