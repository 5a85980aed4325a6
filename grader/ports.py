"""Ports: numbers on the loopback interface that stay ours while the server behind them comes and goes."""

from __future__ import annotations

import socket
import sys

HOST = "127.0.0.1"


class ReservedPort:
    """A free TCP port, kept by a socket that is bound and never listens.

    A server that sets SO_REUSEADDR, as all of ours do, can bind it too. While the server is down, connections are
    refused, and the system gives the number to nobody else, not even to a client that would then talk to itself.
    Only Linux allows the second bind; elsewhere the number is merely likely to stay free.
    """

    def __init__(self) -> None:
        self._keeper = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._keeper.bind((HOST, 0))
        self.number: int = self._keeper.getsockname()[1]
        if sys.platform != "linux":
            self._keeper.close()

    def close(self) -> None:
        """Give the number back."""
        self._keeper.close()
