"""Namespaces: processes, files and a network of one's own (Linux, namespaces(7)), as root and as anybody.

They are made in steps by two processes. The keeper of a process enters `own_processes`, whose first process is ours and
ends with the keeper, and all others with it. The process itself then enters `own_files`.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import re
import signal
import socket
import struct
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from grader import tree

_NEW_FILES, _NEW_IPC, _NEW_USER, _NEW_PROCESSES, _NEW_NETWORK = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_NO_SUID, _NO_DEVICES, _BIND, _RECURSIVE, _PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
_READ_ONLY, _REMOUNT = 0x1, 0x20
_LOCKED = {0x2: 0x2, 0x4: 0x4, 0x8: 0x8, 0x400: 0x400, 0x800: 0x800, 0x1000: 0x200000}
"""What statvfs(3) says of a mount, and the flag of mount(2) without which it may not be mounted anew."""
_DETACH = 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CAPABILITIES = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_SET_FLAGS, _UP = 0x8914, 0x1  # SIOCSIFFLAGS, IFF_UP
_MOST_PROCESSES = 2048

_ROOM = "size=512m,nr_inodes=100k,mode=755"
"""What /tmp, /dev/shm and the rest of the new root may hold together."""

_ANYBODYS = ("/tmp", "/dev/shm")  # noqa: S108  # where everybody may write

OUTSIDE = 0
"""The parent's id, as a process sees it whose parent is in another namespace."""

_DEVICES = ("null", "zero", "full", "random", "urandom")


def own_network() -> None:
    """Give this process, and all that it will start, a network that has a loopback interface and nothing else.

    Raises ``OSError``, with nothing changed, where the system does not grant it. One thread only may run.
    """
    if os.geteuid():
        _unshare(_NEW_USER | _NEW_NETWORK)
    else:
        _unshare(_NEW_NETWORK)  # not another user's: servers are started as other users
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH14x", b"lo", _UP))


def own_processes() -> int:
    """Have what this process starts from now on see no processes but its own; return the process that ends them all."""
    _unshare(_NEW_USER | _NEW_PROCESSES | _NEW_IPC)
    first = os.fork()
    if not first:
        tree.die_with_parent(signal.SIGKILL, OUTSIDE)
        _be_first()
    return first


def _be_first() -> NoReturn:
    """Be process 1: reap orphans, and end when told to and alone. Never returns."""
    told = False

    def end_soon(*_: object) -> None:
        nonlocal told
        told = True

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, end_soon)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.closerange(0, 4096)
    tree.show_as(["init", "init"])
    while not told:
        signal.pause()
    with suppress(ProcessLookupError):
        while True:
            os.kill(-1, 0)  # somebody is left
            time.sleep(0.01)
    os._exit(0)


def own_files(root: str, paths: Iterable[str], writable: Iterable[str] = ()) -> None:
    """See these files and folders and no others, in a root of one's own that is laid out in the empty folder ``root``.

    What does not exist is passed over. /proc shows the processes of `own_processes`; /tmp and /dev/shm are empty but
    for what of ``paths`` and ``writable`` lies there, and end with the process. Only what is ``writable`` can be
    changed there. Raises ``OSError``.
    """
    here = Path.cwd()
    _unshare(_NEW_FILES)
    _mount("none", "/", "", _RECURSIVE | _PRIVATE)
    _mount("tmpfs", root, "tmpfs", _NO_SUID | _NO_DEVICES, _ROOM)
    seen: list[Path] = []
    own = {Path(path) for path in writable}
    for path in sorted(own | {Path(path) for path in (*paths, *(f"/dev/{name}" for name in _DEVICES))}):
        target = Path(f"{root}{path}")
        if not any(path.is_relative_to(one) for one in seen) and _show(path, target):
            seen.append(path)
            if path not in own and any(path.is_relative_to(one) for one in _ANYBODYS):
                _protect(target)
    for name in ("proc", "tmp", "run", "dev/shm"):
        Path(root, name).mkdir(parents=True, exist_ok=True)
    Path(root, "dev/fd").symlink_to("/proc/self/fd")
    _mount("proc", f"{root}/proc", "proc", _NO_SUID | _NO_DEVICES)
    if _kernel() >= (6, 14):  # before, the number was the whole system's
        Path(root, "proc/sys/kernel/pid_max").write_text(str(_MOST_PROCESSES))
    os.chdir(root)
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.syscall(_PIVOT_ROOT[platform.machine()], b".", b"."), "pivot_root")
    _checked(libc.umount2(b".", _DETACH), "umount")
    os.chdir(here)


def drop_capabilities() -> None:
    """Be an ordinary user of the namespaces. Raises ``OSError``."""
    header, nothing = struct.pack("Ii", _CAPABILITIES, 0), bytes(24)
    _checked(ctypes.CDLL(None, use_errno=True).capset(header, nothing), "capset")


def _show(path: Path, target: Path) -> bool:
    """Lay a file, link or folder into the new root; whether it is there to be laid."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        target.symlink_to(path.readlink())
        return False
    if path.is_dir():
        target.mkdir(exist_ok=True)
    elif path.exists():
        target.touch()
    else:
        return False
    _mount(str(path), str(target), "", _BIND | _RECURSIVE)
    return True


def _protect(target: Path) -> None:
    """Make a mount read-only."""
    is_set = os.statvfs(target).f_flag
    kept = sum(flag for seen, flag in _LOCKED.items() if is_set & seen)
    _mount("none", str(target), "", _REMOUNT | _BIND | _READ_ONLY | kept)


def _kernel() -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", platform.release())
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _unshare(flags: int) -> None:
    """Enter new namespaces; as a user of one's own name, where that is one of them."""
    user, group = os.geteuid(), os.getegid()
    _checked(ctypes.CDLL(None, use_errno=True).unshare(flags), "unshare")
    if flags & _NEW_USER:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    words = [os.fsencode(word) for word in (source, target, kind)]
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.mount(*words, ctypes.c_ulong(flags), os.fsencode(options)), f"mount {target}")


def _checked(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
