"""Keeper: the process that starts one process for the grader, keeps its output, and ends its whole tree.

It is told what to do over a socket of its own. When that closes (the grader ended, however it ended), it ends what it
started: SIGTERM, then SIGKILL. Everything the process leaves behind, daemons included, comes back to its keeper.

First message, with file descriptors: what to start. Then one JSON object a line, each answered by ``{"done": true}``:
``{"signal": n}``, ``{"signal": n, "group": true}``, ``{"kill": true}``; ``{"watch": n}`` asks for ``{"output": m}``
once m > n bytes were written. ``{"pid": n}``, ``{"error": …}`` and ``{"exit": code}`` come unasked.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from grader import limits, serving, tree
from grader.sandbox import Confinement
from grader.spool import Spool

Program = Callable[[], None]
"""What a forked child goes on to do, once it has left the loops of its parents."""

Message = dict[str, Any]

GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL when the grader has ended."""

LOOK_EVERY = 1.0
"""Seconds between two looks at what a process and its children take together."""

_CHUNK = 1 << 18


def encode(message: Message) -> bytes:
    """Return a message as a line."""
    return json.dumps(message).encode() + b"\n"


class Lines:
    """JSON objects, one a line, over a stream socket."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self._buffer = b""

    def receive(self) -> list[Message] | None:
        """Wait for data and return the messages it completes; ``None`` when the other end has closed."""
        try:
            data = self.channel.recv(_CHUNK)
        except ConnectionError:
            data = b""
        if not data:
            return None
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def send(self, **message: object) -> None:
        """Send a message; nobody listening is no error, as the end of the channel tells us anyway."""
        try:
            self.channel.sendall(encode(message))
        except OSError:
            return


def receive_order(channel: socket.socket) -> tuple[socket.socket, Message | None]:
    """Receive what to start, and put the file descriptors that came along at the numbers which the order names.

    The channel may have to make room; the one returned takes its place.
    """
    first, received, *_ = socket.recv_fds(channel, 1, 64)
    data = first
    while first and not data.endswith(b"\n"):
        more = channel.recv(_CHUNK)
        if not more:
            return channel, None
        data += more
    if not first:
        return channel, None
    order = json.loads(data)
    above = max([63, *order["fds"]]) + 1
    channel_fd = fcntl.fcntl(channel.detach(), fcntl.F_DUPFD_CLOEXEC, above)
    parked = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for fd in received]
    for fd in received:
        os.close(fd)
    for fd, number in zip(parked, order["fds"], strict=True):
        os.dup2(fd, number, inheritable=False)
        os.close(fd)
    return socket.socket(fileno=channel_fd), order


class Keeper:
    """Starts one process and stays until the grader lets go of it."""

    def __init__(self, channel: socket.socket, order: Message) -> None:
        self._lines = Lines(channel)
        self._order = order
        self._children = tree.Children()
        self._spool = Spool(Path(order["log"]))
        self._output, self._input = os.pipe()
        os.set_blocking(self._output, False)
        self._written = 0
        self._watched: int | None = None
        self._pid = 0
        self._code: int | None = None
        self._parent = os.getpid()
        self._go_inside: Program = lambda: None

    def run(self) -> Program | None:
        """Start the process and keep it to its end; in a forked service return what it is to do."""
        try:
            program = self._start()
        except OSError as error:
            self._lines.send(error=error.errno, message=error.strerror, file=error.filename)
            return None
        if program:
            return program
        os.close(self._input)
        for fd in self._order["fds"]:
            os.close(fd)
        self._lines.send(pid=self._pid, keeper=os.getpid())
        self._attend()
        self._finish(self._children.end(GRACE))
        return None

    def _start(self) -> Program | None:
        cwd = self._order["cwd"]
        os.stat(cwd)  # noqa: PTH116  # its error names the folder
        confinement = Confinement(**self._order["sandbox"]) if "sandbox" in self._order else None
        if confinement:
            self._parent, self._go_inside = confinement.enter_processes(), confinement.enter
        forkable = serving.forkable(cwd, self._order["env"])
        if "argv" in self._order and not (forkable and serving.is_warm(self._order["argv"])):
            self._pid = self._spawn(self._order["argv"], self._order["user"])
            return None
        if not forkable:
            home = [confinement.boot] if confinement else []
            argv = serving.cold_argv(self._order["app"], self._order["factory"], *self._order["fds"], *home)
            self._pid = self._spawn(argv)
            return None
        self._pid = os.fork()
        if self._pid:
            return None
        self._children.close()
        self._lines.channel.close()
        self._spool.close()
        return partial(serving.run_forked, self._order, self._input, self._parent, self._go_inside)

    def _spawn(self, argv: list[str], user: str | None = None) -> int:
        process = subprocess.Popen(
            argv,
            cwd=self._order["cwd"],
            env=self._order["env"],
            stdin=subprocess.DEVNULL,
            stdout=self._input,
            stderr=self._input,
            pass_fds=self._order["fds"],
            start_new_session=True,
            umask=0o022,
            user=user,
            group=limits.group_of(user),
            extra_groups=[] if user else None,
            preexec_fn=partial(limits.prepare, self._order["limits"], self._parent, self._go_inside),  # noqa: PLW1509  # no threads here
        )
        process.returncode = 0  # reaped by us
        return process.pid

    def _attend(self) -> None:
        sources: list[int] = [self._lines.channel.fileno(), self._children.fileno(), self._output]
        looked = time.monotonic()
        while not self._children.told_to_end:
            ready, _, _ = select.select(sources, [], [], LOOK_EVERY)
            if time.monotonic() - looked >= LOOK_EVERY:
                self._end_excess()
                looked = time.monotonic()
            if self._output in ready and not self._drain(_CHUNK):
                sources.remove(self._output)
            if self._children.fileno() in ready:
                self._finish(dict(self._children.reap()))
            if self._lines.channel.fileno() in ready and not self._obey():
                return

    def _end_excess(self) -> None:
        if self._code is None and (much := limits.excess(self._pid, self._order["limits"])):
            self._spool.write(f"\nEnded by the grader: {much}.\n".encode())
            self._finish(self._children.end(0))

    def _drain(self, limit: int) -> bool:
        """Move output to the log, about ``limit`` bytes at most; false when nobody can write any more."""
        moved = 0
        while moved < limit:
            try:
                data = os.read(self._output, _CHUNK)
            except BlockingIOError:
                break
            if not data:
                return False
            self._spool.write(data)
            moved += len(data)
        self._written += moved
        self._tell_output()
        return True

    def _tell_output(self) -> None:
        if self._watched is not None and self._written > self._watched:
            self._watched = None
            self._lines.send(output=self._written)

    def _finish(self, ended: dict[int, int]) -> None:
        if self._code is None and self._pid in ended:
            self._code = ended[self._pid]
            self._drain(1 << 20)  # a pipe holds no more
            self._lines.send(exit=self._code)

    def _obey(self) -> bool:
        messages = self._lines.receive()
        for message in messages or ():
            if "watch" in message:
                self._watched = message["watch"]
                self._tell_output()
                continue
            if "kill" in message:
                self._finish(self._children.end(0))
            elif self._code is None:
                self._signal(message["signal"], group=message.get("group", False))
            self._lines.send(done=True)
        return messages is not None

    def _signal(self, number: int, *, group: bool) -> None:
        try:
            if group:
                os.killpg(self._pid, number)
            else:
                os.kill(self._pid, number)
        except (ProcessLookupError, PermissionError):
            return
        if number == signal.SIGSTOP and hasattr(os, "waitid"):  # it may run on for a moment
            os.waitid(os.P_PID, self._pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


def keep(channel: socket.socket) -> Program | None:
    """Be the keeper at this end of a channel; return only in a forked service, with what it is to do."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # nothing to end yet
    channel, order = receive_order(channel)
    program = Keeper(channel, order).run() if order else None
    if program is None:
        sys.stderr.flush()
        os._exit(0)
    return program
