"""``python -m grader.provider``: a provider for one learner, or the grader's own on inherited sockets."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import secrets
import socket
import sys
from typing import TYPE_CHECKING

from grader.provider.address import ProviderAddress
from grader.provider.server import Server

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; exit code 0."""
    parser = argparse.ArgumentParser(prog="python -m grader.provider", description="A model provider to learn with.")
    parser.add_argument("--port", type=int, default=9100, help="port of the API (default 9100)")
    parser.add_argument("--page-port", type=int, help="port of the page (default: the next free one)")
    parser.add_argument("--host", default="127.0.0.1", help="address that both ports are bound to (default 127.0.0.1)")
    parser.add_argument("--seed", type=int, help="make the answers the same in every run")
    parser.add_argument("--inherit", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    _raise_file_limit()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_inherited(options.inherit) if options.inherit else _learner(options))
    return 0


async def _learner(options: argparse.Namespace) -> None:
    """Serve one learner, whose service may use any key, until interrupted; then print the bill."""
    server = Server(os.environ.get("PROVIDER_TOKEN") or secrets.token_urlsafe(18))
    port = _free_port(options.port, options.host, announce=True)
    namespace = await server.open_for_learner(port, options.seed, options.host)
    listener = socket.create_server((options.host, _free_port(options.page_port or port + 1, options.host)))
    page = ProviderAddress(listener.getsockname()[1], server.token).page_url(namespace.key)
    print("The model provider is ready. Where your service is started:\n")
    print(f"  export OPENAI_BASE_URL={namespace.base_url}")
    print(f"  export OPENAI_API_KEY={namespace.key}\n")
    print(f"Calls, bill and faults: {page}\nCtrl-C ends it.", flush=True)
    try:
        await server.run(listener)
    finally:
        bill = namespace.ledger.bill()
        print(f"\nBill: {bill.calls} calls, {bill.total_tokens:,} tokens, ${bill.price_usd:.4f}")


def _free_port(first: int, host: str, *, announce: bool = False) -> int:
    """Give the first free port from a number on; OSError when there is none in a hundred."""
    for number in range(first, first + 100):
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # an ended provider's port is free at once
            probe.bind((host, number))
            if announce and number != first:
                print(f"Port {first} is taken; using {number} instead.", file=sys.stderr)
            return number
    raise OSError(f"no free port from {first} on")


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
