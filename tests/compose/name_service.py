"""Answers names on 127.0.0.1:53 by asking this machine's name server, until it is ended.

An engine that was started with `--dns 127.0.0.1` writes that address into every build, also into those in the network
of the host. Usage, as root: ``python name_service.py``
"""

from __future__ import annotations

import re
import socket
import threading
from pathlib import Path

ANSWER_LIMIT = 5.0
"""Seconds for the machine's name server."""


def upstream() -> str:
    """Return the address of the first name server that is not this one."""
    found: list[str] = re.findall(r"^nameserver\s+(\S+)", Path("/etc/resolv.conf").read_text(), re.MULTILINE)
    return next(address for address in found if address != "127.0.0.1")


def forward(question: bytes, asker: tuple[str, int], server: socket.socket, to: str) -> None:
    """Pass one question on, and its answer back."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.settimeout(ANSWER_LIMIT)
        try:
            line.sendto(question, (to, 53))
            server.sendto(line.recv(4096), asker)
        except OSError:
            return  # whoever asks asks again


def main() -> None:
    """Serve."""
    to = upstream()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))
        print("ready", flush=True)
        while True:
            question, asker = server.recvfrom(4096)
            threading.Thread(target=forward, args=(question, asker, server, to), daemon=True).start()


if __name__ == "__main__":
    main()
