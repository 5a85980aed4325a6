"""The provider as a process of a grading run, started through a supervisor that ends it with the run."""

from __future__ import annotations

import json
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import grader
from grader.provider.address import ProviderAddress
from grader.provider.client import Provider

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Process(Protocol):
    """What a supervisor gives for a started process."""

    pid: int

    def stop(self, grace: float = 5.0) -> int:
        """End it."""
        ...


class Supervisor(Protocol):
    """What starts a process and sees to its end; ``fds`` are inherited under their own numbers."""

    def spawn(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path, fds: Sequence[int] = ()
    ) -> Process:
        """Start a process."""
        ...


class ProviderProcess:
    """A running provider. Other processes may share it by its address: each opens namespaces of its own."""

    def __init__(self, process: Process, address: ProviderAddress) -> None:
        self._process = process
        self.address = address

    @classmethod
    def start(cls, supervisor: Supervisor, directory: Path) -> Self:
        """Start a provider, its log in a directory; returns at once, the first request waits until it is up.

        Neither the control port nor its token can be seen in the process's arguments or environment.
        """
        token = secrets.token_urlsafe(32)
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        reader, writer = os.pipe()
        try:
            listener.bind(("127.0.0.1", 0))
            listener.listen(128)
            os.write(writer, json.dumps({"token": token}).encode())
            log = directory / "provider.log"
            argv = [sys.executable, "-P", "-s", "-m", "grader.provider", "--inherit", f"{listener.fileno()},{reader}"]
            process = supervisor.spawn(
                argv, env=_environment(), cwd=directory, log=log, fds=(listener.fileno(), reader)
            )
            return cls(process, ProviderAddress(listener.getsockname()[1], token, log))
        finally:
            listener.close()
            os.close(reader)
            os.close(writer)

    @property
    def pid(self) -> int:
        """The provider's process."""
        return self._process.pid

    def new_namespace(self, *, seed: int | None = None) -> Provider:
        """Open a namespace: a fresh API key with a port of its own; a seed makes its answers foreseeable."""
        return Provider.connect(self.address, seed=seed)

    def close(self) -> None:
        """End the process."""
        self._process.stop()


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_CACHE_HOME", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONPATH": str(Path(grader.__file__).parents[1]), "PYTHONUNBUFFERED": "1"}
