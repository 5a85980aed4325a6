"""Process trees as the operating system sees them: parents, adopted orphans, and the end of everything below us.

Linux gives all of it (child subreaper, parent-death signal). Elsewhere a daemon that leaves its session gets away.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_PROC = Path("/proc")
_PR_SET_PDEATHSIG = 1  # prctl(2)
_PR_SET_CHILD_SUBREAPER = 36

KILL_LIMIT = 2.0
"""Seconds in which killed processes must be gone; only the kernel can make them last longer."""


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def adopt_orphans() -> None:
    """Make descendants whose parent ends children of this process (Linux: PR_SET_CHILD_SUBREAPER)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(number: int, parent: int) -> None:
    """Ask for signal ``number`` when the parent ends, and end now if it already has (Linux: PR_SET_PDEATHSIG)."""
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(1)


def show_as(argv: list[str]) -> None:
    """Have ``ps`` show this process with other arguments, as far as there is room for them (Linux)."""
    if sys.platform == "linux":
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end, proc_pid_stat(5)
        words = b"\0".join(map(os.fsencode, argv))[: end - start - 1]
        if start:  # a kernel may hide it
            ctypes.memset(start, 0, end - start)
            ctypes.memmove(start, words, len(words))
            with contextlib.suppress(PermissionError):  # nobody writes there from a sandbox
                Path("/proc/self/comm").write_text(Path(argv[1]).name)


def _relations() -> dict[int, tuple[int, int]]:
    """Return parent and process group of every process that can be seen."""
    if not (_PROC / "self" / "stat").exists():
        listing = subprocess.run(["ps", "-axo", "pid=,ppid=,pgid="], capture_output=True, check=False, text=True).stdout  # noqa: S607
        rows = (map(int, line.split()) for line in listing.splitlines())
        return {pid: (parent, group) for pid, parent, group in rows}
    found = {}
    with os.scandir(_PROC) as entries:
        for entry in entries:
            if entry.name.isdigit():
                try:
                    stat = Path(entry.path, "stat").read_bytes()
                except OSError:  # it has ended
                    continue
                parent, group = stat.rpartition(b")")[2].split()[1:3]
                found[int(entry.name)] = (int(parent), int(group))
    return found


def _groups_below(root: int, sparing: Collection[int] = ()) -> dict[int, int]:
    """Return the process group of each process below ``root``, parents before children, spared subtrees left out."""
    relations = _relations()
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in relations.items():
        children.setdefault(parent, []).append(pid)
    found = [pid for pid in children.get(root, ()) if pid not in sparing]
    for pid in found:  # grows while we walk
        found.extend(children.get(pid, ()))
    return {pid: relations[pid][1] for pid in found}


def descendants(root: int) -> list[int]:
    """Return the processes below ``root``, parents before children, zombies included."""
    return list(_groups_below(root))


def send(pids: Iterable[int], number: int) -> None:
    """Send a signal to each process that is still there; a negative number stands for a group."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def kill_descendants(root: int, sparing: Collection[int] = ()) -> None:
    """Kill what is below ``root`` now. Whole groups at a time: a group cannot fork faster than it is killed."""
    below = _groups_below(root, sparing)
    send([-group for group in {*below.values()} - {os.getpgid(0)}], signal.SIGKILL)
    send(below, signal.SIGKILL)


def _children_now() -> list[int]:
    """Return our children, orphans that just came included, much faster than by a walk (where the kernel tells)."""
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:
        return []


def is_alone(pid: int) -> bool:
    """Tell whether a child of ours is the only one and has none itself (Linux; elsewhere it always seems so)."""
    try:
        with os.scandir(_PROC / str(pid) / "task") as threads:
            return len(_children_now()) < 2 and not any(Path(one.path, "children").read_bytes() for one in threads)
    except OSError:
        return True


def memory(pids: Iterable[int]) -> int:
    """Return the bytes of memory that processes hold, each by itself, files that they map left out (Linux)."""
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended
            resident, shared = (_PROC / str(pid) / "statm").read_text().split()[1:3]
            pages += int(resident) - int(shared)
    return pages * os.sysconf("SC_PAGE_SIZE")


class Children:
    """The children of this process: reaped when they end, ended when we say so. One for each process."""

    def __init__(self) -> None:
        adopt_orphans()
        self.childless = True
        self.told_to_end = False
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        signal.set_wakeup_fd(self._ringer.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._end_soon)

    def _end_soon(self, *_: object) -> None:
        self.told_to_end = True

    def fileno(self) -> int:
        """Return a descriptor that is readable when `reap` or ``told_to_end`` may have news."""
        return self._bell.fileno()

    def reap(self) -> Iterator[tuple[int, int]]:
        """Yield process id and exit code (negative: signal) of every child that ended, and note whether any is left."""
        while True:
            try:
                if not self._bell.recv(4096):
                    break
            except BlockingIOError:
                break
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.childless = True
                return
            self.childless = False
            if not pid:
                return
            yield pid, os.waitstatus_to_exitcode(status)

    def end(self, grace: float) -> dict[int, int]:
        """End everything below this process, with SIGTERM and ``grace`` seconds later SIGKILL; return exit codes."""
        ended = dict(self.reap())
        if grace and not self.childless:
            tree = descendants(os.getpid())
            send(tree, signal.SIGTERM)
            send(tree, signal.SIGCONT)
            ended.update(self._await_childless(grace))
        until = time.monotonic() + KILL_LIMIT
        while not self.childless and time.monotonic() < until:
            kill_descendants(os.getpid())
            ended.update(self._hunt(0.05))
        return ended

    def _hunt(self, seconds: float) -> dict[int, int]:
        """Kill children as they come; so we meet even a process that forks, ends and leaves its group all the time."""
        until = time.monotonic() + seconds
        ended = dict(self.reap())
        while not self.childless and (left := until - time.monotonic()) > 0:
            select.select([self._bell], [], [], left)
            send(_children_now(), signal.SIGKILL)
            ended.update(self.reap())
        return ended

    def _await_childless(self, seconds: float) -> dict[int, int]:
        until = time.monotonic() + seconds
        ended = dict(self.reap())
        while not self.childless and (left := until - time.monotonic()) > 0:
            select.select([self._bell], [], [], left)
            ended.update(self.reap())
        return ended

    def close(self) -> None:
        """Give up the signal handlers; for a forked child that goes its own way."""
        signal.set_wakeup_fd(-1)
        self._bell.close()
        self._ringer.close()
