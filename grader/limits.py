"""Limits: what one process of the learner may take from the machine (setrlimit)."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from grader import tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_RESOURCES = {
    "memory_bytes": resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS,
    "cpu_seconds": resource.RLIMIT_CPU,
    "file_bytes": resource.RLIMIT_FSIZE,
    "open_files": resource.RLIMIT_NOFILE,
}


def group_of(user: str | None) -> int | None:
    """Return the primary group of a user."""
    if user is None:
        return None
    import pwd  # noqa: PLC0415  # only root needs it

    return pwd.getpwnam(user).pw_gid


def prepare(limits: Mapping[str, int], parent: int, go_inside: Callable[[], None]) -> None:
    """Set limits and the parent-death signal in a fresh child, then confine it; its signals are a new process's."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    apply(limits)
    tree.die_with_parent(signal.SIGKILL, parent)
    go_inside()


def apply(limits: Mapping[str, int]) -> None:
    """Set the limits of this process; a limit above what the system grants becomes what it grants."""
    _set(resource.RLIMIT_CORE, 0, 0)
    for name, kind in _RESOURCES.items():
        if name in limits:
            _set(kind, limits[name], limits[name] + (name == "cpu_seconds"))
    if "processes" in limits and os.getuid():  # the system counts a user's processes, and root's not at all
        count = limits["processes"] + _running(os.getuid())
        _set(resource.RLIMIT_NPROC, count, count)


def excess(pid: int, limits: Mapping[str, int]) -> str | None:
    """Say what a child of ours and all that it has started take too much of, together (None: of nothing)."""
    if not limits.keys() & {"tree_processes", "tree_bytes"} or tree.is_alone(pid):
        return None
    family = tree.descendants(os.getpid())
    if len(family) > limits.get("tree_processes", len(family)):
        return f"{len(family)} processes, {limits['tree_processes']} are allowed"
    held = tree.memory(family)
    if held > limits.get("tree_bytes", held):
        return f"{held >> 20} MiB of memory in {len(family)} processes, {limits['tree_bytes'] >> 20} MiB are allowed"
    return None


def raise_open_files(most: int = 16_384) -> None:
    """Let this process, and those it will start, have as many files and connections open as the system grants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _set(kind: int, soft: int, hard: int) -> None:
    granted = resource.getrlimit(kind)[1]
    if granted != resource.RLIM_INFINITY:
        soft, hard = min(soft, granted), min(hard, granted)
    resource.setrlimit(kind, (soft, hard))


def _running(user: int) -> int:
    """Count the processes and threads of a user (Linux)."""
    count = 0
    for task in Path("/proc").glob("[0-9]*/task/*"):
        try:
            count += task.stat().st_uid == user
        except OSError:
            continue
    return count
