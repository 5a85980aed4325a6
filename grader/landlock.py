"""Landlock: take from this process, for good, all files but some and all TCP ports but some (Linux, landlock(7)).

No root and no namespace is needed, and what the process starts has no more than it has.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same numbers on every architecture
_ASK_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_CONNECT_TCP = 1 << 1
_ABSTRACT_SOCKETS, _SIGNALS = 1 << 0, 1 << 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = (1 << bit for bit in range(4))
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_ALL = (1 << 15) - 1
"""Reading, writing, making, removing, moving and truncating: the rights of version 3."""

NETWORK = 4
"""The version (Linux 6.7) from which on TCP ports can be taken away."""

SIGNALS = 6
"""The version (Linux 6.12) from which on processes outside cannot be signalled."""

_PR_SET_NO_NEW_PRIVS = 38


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("access", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _NetPort(ctypes.Structure):
    _fields_ = (("access", ctypes.c_uint64), ("port", ctypes.c_uint64))


@cache
def version() -> int:
    """The version that the kernel speaks; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    spoken: int = ctypes.CDLL(None).syscall(_CREATE, None, ctypes.c_size_t(0), _ASK_VERSION)
    return max(0, spoken)


def renounce_privileges() -> None:
    """Give up setuid programs for good, which Landlock and seccomp ask for."""
    _checked(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def restrict(readable: Iterable[str], writable: Iterable[str], ports: Iterable[int]) -> None:
    """Keep these files and folders and these TCP ports to connect to; what does not exist is passed over.

    Processes outside can be neither traced nor, from version `SIGNALS` on, signalled. Raises ``OSError``.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    speaks = version()
    ruleset = _Ruleset(_ALL, _CONNECT_TCP, _ABSTRACT_SOCKETS | _SIGNALS)
    size = ctypes.c_size_t(24 if speaks >= SIGNALS else 16)
    fd = _checked(libc.syscall(_CREATE, ctypes.byref(ruleset), size, 0))
    try:
        for access, paths in ((_READ, readable), (_ALL, writable)):
            for path in paths:
                _allow(libc, fd, path, access)
        for port in ports:
            rule = _NetPort(_CONNECT_TCP, port)
            _checked(libc.syscall(_ADD_RULE, fd, _NET_PORT, ctypes.byref(rule), 0))
        _checked(libc.syscall(_RESTRICT, fd, 0))
    finally:
        os.close(fd)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, access: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        allowed = access if Path(path).is_dir() else access & _OF_A_FILE
        rule = _PathBeneath(allowed, parent)
        _checked(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0))
    finally:
        os.close(parent)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"landlock: {os.strerror(number)}")
    return result
