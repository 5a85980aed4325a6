"""Service: the learner's process on a socket that the grader bound, its output, its end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from grader import patience, startup, wire
from grader.report import StartProblem
from grader.submission import Submission
from grader.supervisor import Limits

if TYPE_CHECKING:
    from grader.supervisor import Process, Supervisor

SHARE = Limits(
    memory_bytes=3 << 30,
    file_bytes=128 << 20,
    cpu_seconds=1800,
    processes=300,
    tree_bytes=4 << 30,
    tree_processes=300,
)
"""What a process of a learner, and a family of them, may take: far more than they need, less than the machine has."""

START_LIMIT = 10.0
"""Seconds within which the contract wants the first answer; a busy machine is given more."""

COMMAND_LIMIT = 30.0
"""Seconds for a start command of the learner's: nothing is preloaded, and some servers import twice."""


class StartFailedError(Exception):
    """The service did not come up; ``problem`` explains it."""

    def __init__(self, problem: StartProblem) -> None:
        super().__init__(problem.cause)
        self.problem = problem


def listen() -> socket.socket:
    """Bind a listening socket on a free port of the loopback interface.

    IPPROTO_TCP is named since asyncio sets TCP_NODELAY only on sockets that name it; without, answers wait 40 ms.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(2048)
    return listener


def base_environment(home: Path) -> dict[str, str]:
    """The environment of every learner's process apart from the contract's variables."""
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "FORWARDED_ALLOW_IPS": "",
    }


class Service:
    """One replica of the learner's service."""

    def __init__(self, process: Process, address: wire.Address, log_path: Path, name: str) -> None:
        self.process = process
        self.address = address
        self.log_path = log_path
        self.name = name
        self.start_lines = 0
        patience.WATCHED.add(process.pid)

    @classmethod
    def start(
        cls,
        submission: Submission,
        env: Mapping[str, str],
        *,
        supervisor: Supervisor,
        log_path: Path,
        name: str = "service",
    ) -> Service:
        """Start a replica and wait for its first answer. Raises ``StartFailedError``."""
        listener = listen()
        address: wire.Address = listener.getsockname()[:2]
        process = supervisor.serve(
            submission.app,
            factory=submission.factory,
            env=env,
            cwd=submission.root,
            listener=listener,
            log=log_path,
            limits=SHARE,
        )
        listener.close()
        service = cls(process, address, log_path, name)
        service._await_first_answer(submission)
        return service

    @classmethod
    def command(
        cls,
        submission: Submission,
        argv: Sequence[str],
        env: Mapping[str, str],
        *,
        supervisor: Supervisor,
        log_path: Path,
        port: int,
        name: str = "command",
    ) -> Service:
        """Start a replica by a command line of the learner's, which is told its port in PORT, and wait for an answer.

        Raises ``StartFailedError``, and the ``OSError`` that prevented the start.
        """
        told = {**env, "PORT": str(port)}
        process = supervisor.spawn(argv, env=told, cwd=submission.root, log=log_path, limits=SHARE)
        service = cls(process, ("127.0.0.1", port), log_path, name)
        service._await_port(submission)
        service._await_first_answer(submission, limit=COMMAND_LIMIT)
        return service

    def _await_port(self, submission: Submission) -> None:
        """Wait until somebody listens on the port."""
        watch = patience.Stopwatch()
        while not self.accepts():
            code = self.process.wait(0.05)
            self._watch_children()
            watch.stop()
            if code is not None and not self.accepts():
                problem = startup.explain(self.lines(), code, submission.root, submission.app)
            elif watch.elapsed - watch.starved > COMMAND_LIMIT:
                said = f"Nothing listens on port {self.address[1]}, which the environment names as PORT."
                if self.accepts("::1"):
                    said = f"On port {self.address[1]} the server takes IPv6 connections only; bind 0.0.0.0."
                problem = StartProblem(cause=said, log=tuple(self.lines()[-startup.TAIL :]))
            else:
                continue
            self.stop(grace=0.5)
            raise StartFailedError(problem)

    def _watch_children(self) -> None:
        """Let the wait of what it started for a processor count too: the server may stand behind a shell."""
        with contextlib.suppress(psutil.Error):
            children = psutil.Process(self.process.pid).children(recursive=True)
            patience.WATCHED.update(child.pid for child in children)

    def accepts(self, host: str = "127.0.0.1") -> bool:
        """Whether a connection to its port is accepted, at this or another address of the machine."""
        with contextlib.suppress(OSError), socket.create_connection((host, self.address[1]), 1.0):
            return True
        return False

    def _await_first_answer(self, submission: Submission, *, limit: float = START_LIMIT) -> None:
        watch = patience.Stopwatch()
        request = wire.Request("GET", "/health", ((b"Host", b"localhost"),))
        talk = wire.Talk(self.address, request, time.monotonic() + 10 * limit)
        talk.open()
        while not talk.wait(until=time.monotonic() + 0.05):
            code = self.process.poll()
            if code is not None:
                problem = startup.explain(self.lines(), code, submission.root, submission.app)
                break
            watch.stop()
            # A busy loop at import is starved as long as the machine is: some time is enough for anybody.
            if watch.elapsed - watch.starved > limit + 2 * patience.GRACE or watch.elapsed > 6 * limit:
                problem = startup.explain_hang(self.lines(), self.process.pid, submission.root, watch.elapsed)
                break
        else:
            if talk.status is not None:
                self.start_lines = len(self.lines())
                return
            self.process.wait(0.5)
            code = self.process.poll()
            if code is None:
                said = f"The service {talk.error} when it was asked for /health."
                problem = StartProblem(cause=said, log=tuple(self.lines()[-startup.TAIL :]))
            else:
                problem = startup.explain(self.lines(), code, submission.root, submission.app)
        talk.close()
        self.stop(grace=0.5)
        raise StartFailedError(problem)

    @property
    def url(self) -> str:
        """The base URL, without a slash at the end."""
        return f"http://{self.address[0]}:{self.address[1]}"

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def lines(self) -> list[str]:
        """What the service has written, line by line; the oldest may be gone after a flood."""
        try:
            return self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return []

    def wait_for_line(self, wanted: Callable[[str], bool], within: float = 5.0) -> str | None:
        """Return the first line that is wanted; log lines may come after the answer that they describe."""
        until = time.monotonic() + within
        while True:
            found = next((line for line in self.lines() if wanted(line)), None)
            if found is not None or time.monotonic() >= until:
                return found
            time.sleep(0.02)

    def terminate(self) -> None:
        """Ask the service to end, as a deployment does (SIGTERM)."""
        self.process.signal(signal.SIGTERM)

    def stop(self, grace: float = 3.0) -> int:
        """End the service and everything it started; return the exit code."""
        patience.WATCHED.discard(self.process.pid)
        return self.process.stop(grace)
