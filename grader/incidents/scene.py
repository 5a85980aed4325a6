"""Scene: where the production that runs can be reached, for the commands that look at it from other terminals."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from grader import workspace

STOPS_WITHIN = 30.0
"""Seconds for a production to end, on a machine that is busy."""


class NotRunningError(Exception):
    """No production runs; the text says how to start one."""


class RunningError(Exception):
    """A production runs already; the text says which."""


@dataclass(frozen=True)
class Place:
    """One process of the production: its name, where it listens (empty for a worker), its pid and its log."""

    name: str
    url: str
    pid: int
    log: str


@dataclass(frozen=True)
class Scene:
    """A production that runs."""

    incident: str
    pid: int
    began: float
    url: str
    replicas: tuple[Place, ...]
    worker: Place
    redis: str
    database: str
    provider: dict[str, Any]
    keys: dict[str, str]
    user: dict[str, str]
    pages: dict[str, str]

    @property
    def places(self) -> tuple[Place, ...]:
        """Replicas and worker."""
        return (*self.replicas, self.worker)

    def place(self, name: str) -> Place:
        """Return a process by its name. Raises ``KeyError``."""
        for place in self.places:
            if place.name == name:
                return place
        raise KeyError(name)


def _folder() -> Path:
    folder = workspace.home() / "incidents"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Be the one production that runs, until the end of this process at the latest. Raises ``RunningError``."""
    with (_folder() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunningError("a production runs already; `course incident stop` ends it") from None
        _file().unlink(missing_ok=True)
        try:
            yield
        finally:
            _file().unlink(missing_ok=True)


def _file() -> Path:
    return _folder() / "running.json"


def publish(scene: Scene) -> None:
    """Let other terminals find the production; the file holds keys, so nobody else may read it."""
    descriptor = os.open(_file(), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(scene), file)


def current() -> Scene:
    """Return the production that runs. Raises ``NotRunningError``."""
    if not _is_held() or not _file().exists():
        raise NotRunningError("no production runs; `course incident start NAME` starts one")
    told = json.loads(_file().read_text(encoding="utf-8"))
    places = tuple(Place(**each) for each in told.pop("replicas"))
    return Scene(**{**told, "replicas": places, "worker": Place(**told["worker"])})


def _is_held() -> bool:
    """Tell whether the lock is taken: it goes with its process, however that ends."""
    with (_folder() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def stop(scene: Scene) -> bool:
    """End the production by its own command's pid, which holds the lock; tell whether it has ended."""
    os.kill(scene.pid, signal.SIGTERM)
    until = time.monotonic() + STOPS_WITHIN
    while _is_held():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True
