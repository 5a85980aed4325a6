"""Usage: what a process, with all that it started, has taken from the machine."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Usage:
    """Processor time in seconds since the start, open files and sockets, resident memory in bytes."""

    cpu: float = 0.0
    files: int = 0
    memory: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.cpu + other.cpu, self.files + other.files, self.memory + other.memory)


def usage_of(pid: int) -> Usage:
    """Add up a process and its descendants; nothing for a process that has ended."""
    total = Usage()
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += Usage(_cpu(process), process.num_fds(), process.memory_info().rss)
    return total


def _cpu(process: psutil.Process) -> float:
    """Processor time: to the nanosecond where the kernel tells (Linux, schedstat), else in ticks of a hundredth."""
    try:
        tasks = list(Path(f"/proc/{process.pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except OSError:
        times = process.cpu_times()
        return float(times.user + times.system)
