"""Redis: a real server of the run's own, which checks may stop and freeze."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from grader.parts import PartFailedError, Program, find_valkey
from grader.ports import HOST, ReservedPort

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis

    from grader.supervisor import Process, Supervisor

START_LIMIT = 15.0
"""Seconds for a server to be ready, on a machine that is busy."""

_READY = "Ready to accept connections"  # Redis and Valkey log it once they listen


class NotOursError(Exception):
    """A server that was given by its address is not the grader's to stop."""


class Redis:
    """A Redis-compatible server without persistence, on a port that it keeps while it is stopped."""

    source: str
    url: str

    def __init__(self, supervisor: Supervisor, directory: Path) -> None:
        """Start a server of our own, or use the one at ``REDIS_URL``. Raises ``PartMissingError``."""
        self._supervisor = supervisor
        self._directory = directory
        self._process: Process | None = None
        self._program: Program | None = None
        self._port: ReservedPort | None = None
        if given := os.environ.get("REDIS_URL"):
            self.source, self.url, self.port = "env", given, urlsplit(given).port or 6379
            return
        self._program = find_valkey()
        self._port = ReservedPort()
        self.port = self._port.number
        self.source, self.url = self._program.source, f"redis://{HOST}:{self.port}/0"
        try:
            self.start()
        except PartFailedError:
            self.close()
            raise

    @property
    def is_ours(self) -> bool:
        """Whether it may be stopped and frozen."""
        return self._program is not None

    @property
    def version(self) -> str:
        """The server's version."""
        if self._program:
            return self._program.version
        info = self.client().info("server")
        return str(info.get("valkey_version") or info["redis_version"])

    @property
    def pid(self) -> int:
        """The server's process id; 0 while it is stopped."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it, empty, and return when it answers. Raises ``PartFailedError``."""
        if self._process:
            return
        log = self._directory / "redis.log"
        process = self._supervisor.spawn(self._argv(), env={"LC_ALL": "C"}, cwd=self._directory, log=log)
        if not process.wait_for_output(_READY, START_LIMIT):
            process.stop(0)
            raise PartFailedError(f"Redis did not start on port {self.port}: {log.read_text(errors='replace')[-500:]}")
        self._process = process

    def _argv(self) -> list[str]:
        if not self._program:
            raise NotOursError("The Redis at REDIS_URL is not the grader's to start or stop; unset REDIS_URL")
        settings = {"port": str(self.port), "bind": HOST, "databases": "1000", "dir": str(self._directory)}
        settings |= {"save": "", "appendonly": "no"}
        words = itertools.chain(*((f"--{name}", value) for name, value in settings.items()))
        return [str(self._program.path), *words]

    def stop(self) -> None:
        """Stop it: connections end, new ones are refused. What it held is lost."""
        self._argv()
        if self._process:
            self._process.stop(grace=0)  # it saves nothing, so there is nothing to wait for
            self._process = None

    def restart(self) -> None:
        """Stop it and start it, empty, on the same port."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Make it hang: connections are accepted by the system, and nothing answers."""
        self._argv()
        if self._process:
            self._process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        if self._process:
            self._process.signal(signal.SIGCONT)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop it while inside."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Make it hang while inside."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    @cached_property
    def _client(self) -> redis.Redis:
        import redis  # noqa: PLC0415  # 0.2 s, for checks that look into it

        return redis.Redis.from_url(self.url, socket_timeout=5.0, socket_connect_timeout=5.0)

    def client(self) -> redis.Redis:
        """Return a client, for looking into what services keep there."""
        return self._client

    def close(self) -> None:
        """End it for good."""
        if "_client" in vars(self):
            self._client.close()
        if self._process:
            self._process.stop(grace=0)
            self._process = None
        if self._port:
            self._port.close()
