"""What a busy machine excuses."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from grader import patience
from grader.patience import Stopwatch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how long processes wait")

SPIN = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass\n"


@pytest.fixture
def rivals() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Three processes that want the same processor all the time, and are watched."""
    processor = str(min(os.sched_getaffinity(0)))
    with contextlib.ExitStack() as stack:
        processes = []
        for _ in range(3):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", SPIN, processor]))
            stack.callback(process.kill)
            processes.append(process)
            patience.WATCHED.add(process.pid)
            stack.callback(patience.WATCHED.discard, process.pid)
        yield processes


def waited(process: subprocess.Popen[bytes]) -> float:
    """Seconds for which a process has waited for a processor."""
    return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[1]) / 1e9


def let_wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Let a process wait for its processor for so long."""
    until = waited(process) + seconds
    while waited(process) < until:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)


def test_who_ends_takes_nothing_from_the_others(rivals: list[subprocess.Popen[bytes]]) -> None:
    ending, staying, _ = rivals
    let_wait(ending, 1.0)
    watch = Stopwatch()
    let_wait(staying, 0.3)
    patience.WATCHED.discard(ending.pid)
    ending.kill()
    ending.wait()
    watch.stop()
    assert watch.starved >= 0.3
