"""Seccomp: refuse the system calls by which a process would get round Landlock's rules for TCP (Linux, seccomp(2)).

Landlock speaks of connect() on plain TCP sockets only. So every other kind of internet socket is refused (UDP, raw,
MPTCP), connecting by sending (TCP Fast Open), and io_uring, whose calls no filter sees.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
from dataclasses import dataclass

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _AND, _RETURN, _EQUALS, _AT_LEAST, _ANY_BIT = 0x20, 0x54, 0x06, 0x15, 0x35, 0x45  # BPF_LD|BPF_W|BPF_ABS, …
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data, whose integers are little-endian
_TYPE_OF_A_SOCKET = 0xF
_MSG_FASTOPEN = 0x20000000
_X32 = 0x40000000


@dataclass(frozen=True)
class _Calls:
    """Numbers of system calls on one architecture."""

    audit: int
    socket: int
    sending: tuple[tuple[int, int], ...]
    """With the position of the flags among the arguments."""
    refused: tuple[int, ...]
    """io_uring_setup, and the calls for the kernel's keyrings, which the same user shares."""


_ARCHITECTURES = {
    "x86_64": _Calls(0xC000003E, 41, ((44, 3), (46, 2), (307, 3)), (425, 248, 249, 250)),
    "aarch64": _Calls(0xC00000B7, 198, ((206, 3), (211, 2), (269, 3)), (425, 217, 218, 219)),
}


def supported() -> bool:
    """Whether the filter knows this machine's system calls."""
    return platform.machine() in _ARCHITECTURES


def install(*, unix_sockets: bool) -> None:
    """Filter the calls of this process and of all that it starts, for good. Raises ``OSError``.

    Without ``unix_sockets`` no program that listens on a path, such as a container engine, can be talked to.
    """
    program = _program(_ARCHITECTURES[platform.machine()], unix_sockets=unix_sockets)
    code = ctypes.create_string_buffer(b"".join(program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    whole = Program(len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(whole), 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")


def _program(calls: _Calls, *, unix_sockets: bool) -> list[bytes]:
    """Write the filter; a jump counts the instructions that it passes over."""
    refuse, allow = [_do(_RETURN, _ERRNO | errno.EACCES)], [_do(_RETURN, _ALLOW)]
    program = [_do(_LOAD, _ARCHITECTURE), _do(_EQUALS, calls.audit, yes=1), *refuse]
    program += [_do(_LOAD, _NUMBER), _do(_AT_LEAST, _X32, no=1), *refuse]
    for number in calls.refused:
        program += [_do(_EQUALS, number, no=1), _do(_RETURN, _ERRNO | errno.ENOSYS)]
    for number, position in calls.sending:
        flags = [_do(_LOAD, _argument(position)), _do(_ANY_BIT, _MSG_FASTOPEN, no=1), *refuse, *allow]
        program += [_do(_EQUALS, number, no=len(flags)), *flags]
    kinds = [_do(_LOAD, _argument(0))]
    for family in [socket.AF_NETLINK, *([socket.AF_UNIX] if unix_sockets else [])]:
        kinds += [_do(_EQUALS, family, no=1), *allow]
    tcp = [_do(_LOAD, _argument(1)), _do(_AND, _TYPE_OF_A_SOCKET), _do(_EQUALS, socket.SOCK_STREAM, yes=1), *refuse]
    tcp += [_do(_LOAD, _argument(2)), _do(_EQUALS, 0, no=1), *allow, _do(_EQUALS, socket.IPPROTO_TCP, yes=1), *refuse]
    kinds += [_do(_EQUALS, socket.AF_INET, yes=2), _do(_EQUALS, socket.AF_INET6, yes=1), *refuse, *tcp, *allow]
    return [*program, _do(_EQUALS, calls.socket, no=len(kinds)), *kinds, *allow]


def _argument(position: int) -> int:
    return _ARGUMENTS + 8 * position


def _do(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("<HBBI", code, yes, no, value)
