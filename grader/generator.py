"""Generator: the Locust process of a lab, with users who send what they are told (``grader.crowd``)."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grader.expectation import Inconclusive

if TYPE_CHECKING:
    from grader.supervisor import Supervisor

START_LIMIT = 60.0
"""Seconds for Locust to be there with all its users; on a busy machine its imports alone take ten."""

PATIENCE = 15.0
"""Seconds after which a client gives up (contract, lab 9)."""


@dataclass(frozen=True)
class Shot:
    """A POST that user number ``user`` sends ``due`` seconds after the start, or when its last one is answered."""

    user: int
    due: float
    key: str
    path: str
    body: str


@dataclass(frozen=True)
class Result:
    """What came of a request: when it was sent (monotonic clock), seconds to the answer's end, status or error.

    ``error`` is refused, reset or timeout; ``retry`` tells of a Retry-After header.
    """

    sent: float
    seconds: float
    status: int
    retry: bool
    error: str

    @property
    def finished(self) -> float:
        """When it was over."""
        return self.sent + self.seconds


class Generator:
    """Locust, headless, with a fixed number of users."""

    def __init__(self, supervisor: Supervisor, directory: Path, users: int) -> None:
        """Start it; it makes ready beside whatever else is done."""
        self._channel, theirs = socket.socketpair()
        self._log = directory / "locust.log"
        self._buffer = b""
        self._is_ready = False
        home = directory / "locust"
        home.mkdir(exist_ok=True)
        with theirs:
            self._process = supervisor.spawn(
                [*locust("crowd"), "--headless", *f"--users {users} --spawn-rate {users}".split(), "--only-summary"],
                env={
                    "LOAD_CHANNEL": str(theirs.fileno()),
                    "HOME": str(home),
                    "LANG": "C.UTF-8",
                },
                cwd=home,
                log=self._log,
                fds=(theirs.fileno(),),
            )

    def fire(self, url: str, shots: Sequence[Shot], patience: float = PATIENCE) -> list[Result]:
        """Send a section of requests, return what came of each; clients wait ``patience`` seconds for an answer.

        Raises ``Inconclusive`` when Locust does not work.
        """
        self.begin(url, shots, patience)
        return self.finish(shots)

    def begin(self, url: str, shots: Sequence[Shot], patience: float = PATIENCE) -> None:
        """Send a section of requests, and return when the last of them has been sent."""
        if not self._is_ready:
            self._hear("ready", START_LIMIT)
            self._is_ready = True
        order = {"url": url, "shots": [asdict(shot) for shot in shots], "patience": patience}
        with contextlib.suppress(OSError):  # its end is noticed below
            self._channel.settimeout(START_LIMIT)
            self._channel.sendall(json.dumps(order).encode() + b"\n")
        self._hear("begun", _longest(shots))

    def finish(self, shots: Sequence[Shot]) -> list[Result]:
        """Wait for the end of the section that was begun."""
        return [Result(*each) for each in self._hear("shots", _longest(shots))]

    def _hear(self, word: str, limit: float) -> Any:  # noqa: ANN401  # each word has its own
        """Wait for a message of Locust's; it may come late on a busy machine, but it does come."""
        until = time.monotonic() + limit
        while b"\n" not in self._buffer:
            self._channel.settimeout(max(0.01, until - time.monotonic()))
            try:
                data = self._channel.recv(1 << 18)
            except OSError:
                data = b""
            if not data:
                raise Inconclusive(f"Locust did not do its part ({self._last_words()}); grade again.")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)[word]

    def _last_words(self) -> str:
        if self._process.poll() is None:
            return "it is still at it"
        lines = self._log.read_text(errors="replace").splitlines()
        return lines[-1] if lines else f"exit code {self._process.poll()}"

    def close(self) -> None:
        """Let the users go, and end it."""
        self._channel.close()
        self._process.wait(5.0)
        self._process.stop(1.0)


def _longest(shots: Sequence[Shot]) -> float:
    """Seconds that a section can take: the last is due, each user's requests all time out, and the machine is busy."""
    most = max(Counter(shot.user for shot in shots).values(), default=0)
    return max(shot.due for shot in shots) + most * PATIENCE + START_LIMIT


def locust(module: str) -> list[str]:
    """Return the command that starts Locust with a file of ours."""
    path = Path(__file__).with_name(f"{module}.py")
    return [sys.executable, "-P", "-s", "-m", "locust", "--locustfile", str(path), "--loglevel", "WARNING"]
