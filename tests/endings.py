"""Seeing processes end, and processes that would rather not."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Iterable
from pathlib import Path

DAEMON = """
import os, signal, sys, time
hear, tell = os.pipe()
for first in (True, False):  # as daemons do, and once more
    if os.fork():
        if first:
            print("daemon", int(os.read(hear, 20)), flush=True)
        os._exit(0)
    os.setsid()
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
os.write(tell, str(os.getpid()).encode())
time.sleep(300)
"""
"""A program that leaves its parent, its group and its session, and ignores what asks it to end."""

COMET = """
import os, sys
print("up", flush=True)
for _ in range(20_000):
    if os.fork():
        os._exit(0)
    if sys.argv[1:]:
        os.setsid()
"""
"""A program that is another process at every look; with an argument, in another session too."""

CROWD = """
import os, time
for _ in range(6):
    os.fork()
print("up", flush=True)
time.sleep(300)
"""


def outliving(pids: Iterable[int], within: float) -> list[int]:
    """Return which of the processes have not ended after some seconds; returns as soon as all have."""
    until = time.monotonic() + within
    return [pid for pid in pids if not _ends(pid, until)]


def _ends(pid: int, until: float) -> bool:
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], max(0.0, until - time.monotonic()))[0])
    finally:
        os.close(fd)


def numbers_after(word: str, text: str) -> list[int]:
    """Return the numbers that follow a word in the lines of a text."""
    return [int(line.split()[1]) for line in text.splitlines() if line.startswith(word + " ")]


def environments_and_arguments(pids: Iterable[int]) -> bytes:
    """Return all that /proc shows of how processes were started."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            found += [Path(f"/proc/{pid}/cmdline").read_bytes(), Path(f"/proc/{pid}/environ").read_bytes()]
    return b"\0".join(found)
