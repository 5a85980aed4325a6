"""Process: the grader's handle on a process that a keeper started (`grader.keeper` speaks the other end)."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
import time
import weakref
from typing import TYPE_CHECKING, Self

from grader.keeper import Lines, Message, encode
from grader.spool import LogReader, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

START_LIMIT = 120.0
"""Seconds in which a supervisor, its imports included, must have started a process."""

ANSWER_LIMIT = 10.0
"""Seconds in which a keeper must have done what it was told, however busy the machine."""


class SupervisorError(Exception):
    """The supervisor cannot do its work."""


class KeeperLostError(SupervisorError):
    """Somebody killed the keeper before it could tell that it has started the process: the process itself, perhaps."""


class Process:
    """A process of the supervisor. It belongs to the process that started it: forks of that know its ``pid`` only."""

    def __init__(self, channel: socket.socket, log: Path) -> None:
        self.pid = 0
        self._keeper = 0
        self.log = log
        self._log_start = size_of(log)
        self._lines = Lines(channel)
        self._changed = threading.Condition()
        self._listening = False
        self._lost = False
        self._code: int | None = None
        self._failure: OSError | None = None
        self._asked = 0
        self._answered = 0
        self._output = 0
        _of_this_process.add(self)

    def __del__(self) -> None:
        self._lines.channel.close()

    def poll(self) -> int | None:
        """Return the exit code (negative: the signal that ended it), or ``None`` while it runs."""
        return self.wait(0)

    def wait(self, timeout: float) -> int | None:
        """Wait for the end, at most ``timeout`` seconds; return as `poll` does."""
        self._until(lambda: self._code is not None, timeout)
        if self._code is None and self._lost:
            return -signal.SIGKILL  # its keeper is gone, and a process never outlives that
        return self._code

    def wait_for_output(self, marker: str, timeout: float, *, since: int | None = None) -> bool:
        """Wait until the process has written ``marker``, at most ``timeout`` seconds or until it ends.

        What lies before the byte ``since`` of the log does not count; normally all that the process wrote does.
        """
        until = time.monotonic() + timeout
        reader = LogReader(self.log, self._log_start if since is None else since)
        seen, wanted = b"", marker.encode()
        with contextlib.closing(reader):
            while True:
                known, ended = self._output, self.poll() is not None
                seen = seen[-len(wanted) :] + reader.read()
                left = until - time.monotonic()
                if wanted in seen or ended or left <= 0:
                    return wanted in seen
                self._tell(watch=known)
                self._until(lambda known=known: self._output > known or self._code is not None, left)  # type: ignore[misc]

    def signal(self, number: int) -> None:
        """Send a signal to the process; after its end, do nothing."""
        self._ask(signal=number)

    def signal_group(self, number: int) -> None:
        """Send a signal to the process and those of its children that share its group."""
        self._ask(signal=number, group=True)

    def stop(self, grace: float = 5.0) -> int:
        """End it with SIGTERM, after ``grace`` seconds with SIGKILL, and all it started; return the exit code."""
        if self._ask(signal=signal.SIGTERM) and self._ask(signal=signal.SIGCONT):
            self.wait(grace)
        if not self._ask(kill=True):
            self._kill_keeper()
        code = self.wait(0)
        self.close()
        return -signal.SIGKILL if code is None else code

    def close(self) -> None:
        """Let go of the process: its keeper ends it and all it started, and nobody waits for that."""
        with self._changed:
            self._lost = True
            with contextlib.suppress(OSError):
                self._lines.channel.shutdown(socket.SHUT_RDWR)  # wakes a thread that listens
            if not self._listening:
                self._lines.channel.close()
            self._changed.notify_all()
        _of_this_process.discard(self)

    def start(self, order: Message, fds: Sequence[int]) -> Self:
        """Tell the keeper what to start, and wait until it has; raises the ``OSError`` that prevented it."""
        with contextlib.suppress(OSError):  # the other end has closed, as we shall read
            self._send(order, fds)
        self._until(lambda: bool(self.pid or self._failure), START_LIMIT)
        if not self.pid:
            lost = self._lost
            self.close()
            if self._failure:
                raise self._failure
            raise KeeperLostError if lost else SupervisorError("The helper that starts processes hangs")
        return self

    def _send(self, order: Message, fds: Sequence[int]) -> None:
        line = encode(order)
        if fds:
            socket.send_fds(self._lines.channel, [line[:1]], list(fds))
            line = line[1:]
        self._lines.channel.sendall(line)

    def _tell(self, **message: object) -> None:
        with self._changed:
            if not self._lost:
                self._lines.send(**message)

    def _ask(self, **message: object) -> bool:
        """Have the keeper do something; tell whether it answers, or has ended, in time."""
        with self._changed:
            if self._lost:
                return True
            self._asked += 1
            number = self._asked
            self._lines.send(**message)
        self._until(lambda: self._answered >= number, ANSWER_LIMIT)
        return self._lost or self._answered >= number

    def _kill_keeper(self) -> None:
        """End a keeper that somebody stopped; what it kept goes to the helper, which kills it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._keeper, signal.SIGKILL)
        self._until(lambda: False, ANSWER_LIMIT)

    def _until(self, done: Callable[[], bool], timeout: float) -> None:
        """Read messages until ``done``; when several threads wait, one of them reads for all."""
        until = time.monotonic() + timeout
        with self._changed:
            while not done() and not self._lost:
                left = max(0.0, until - time.monotonic())
                if self._listening:
                    self._changed.wait(left)
                else:
                    self._listen(left)
                if left <= 0:
                    return

    def _listen(self, timeout: float) -> None:
        self._listening = True
        self._changed.release()
        messages: list[Message] | None = []
        try:
            poll = select.poll()
            poll.register(self._lines.channel, select.POLLIN)
            if poll.poll(timeout * 1000):
                messages = self._lines.receive()
        finally:
            self._changed.acquire()
            self._listening = False
            self._note(messages)
            self._changed.notify_all()

    def _note(self, messages: list[Message] | None) -> None:
        for message in messages or ():
            self.pid = message.get("pid", self.pid)
            self._keeper = message.get("keeper", self._keeper)
            self._code = message.get("exit", self._code)
            self._output = message.get("output", self._output)
            self._answered += "done" in message
            if "error" in message:
                self._failure = OSError(message["error"], message["message"], message["file"])
        if messages is None:
            self._lost = True
        if self._lost:
            self._lines.channel.close()

    def disown(self) -> None:
        """Forget the process, in a fork that must not keep it alive; locks may be in any state there."""
        self._changed = threading.Condition()
        self._lost = True
        self._lines.channel.close()


_of_this_process: weakref.WeakSet[Process] = weakref.WeakSet()


def _disown_all() -> None:
    for process in list(_of_this_process):
        process.disown()
    _of_this_process.clear()


os.register_at_fork(after_in_child=_disown_all)
