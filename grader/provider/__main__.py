"""``python -m grader.provider``: a provider for one learner, or the grader's own on inherited sockets."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import socket
import sys
from typing import TYPE_CHECKING

from grader.provider.server import Server

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m grader.provider", description="A model provider to learn with.")
    parser.add_argument("--port", type=int, default=9100, help="port of the API (default 9100)")
    parser.add_argument("--seed", type=int, help="make the answers the same in every run")
    parser.add_argument("--inherit", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    _raise_file_limit()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_inherited(options.inherit))
    return 0


async def _inherited(numbers: str) -> None:
    """Serve a grader: the control socket and a pipe with the token are inherited."""
    listener, reader = (int(number) for number in numbers.split(","))
    with os.fdopen(reader) as pipe:
        settings = json.load(pipe)
    await Server(settings["token"]).run(socket.socket(fileno=listener))


def _raise_file_limit() -> None:
    # A thousand connections and more at once are part of the course.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
