"""Launcher: the helper program behind `grader.supervisor`, which imports once, forks keepers, and tidies up at the end.

Arguments: lifeline and request descriptors, the scratch folder (may be empty), modules to import. No secret ever comes
this way, and what a service is to do goes to its keeper only, so no service finds another one's secrets in its memory.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

from grader import huge_pages, keeper, serving, tree

if TYPE_CHECKING:
    from collections.abc import Sequence

KEEPER_LIMIT = keeper.GRACE + 1.0
"""Seconds after which keepers that have not ended their trees are killed."""


class Launcher:
    """Owns every process of one supervisor."""

    def __init__(self, lifeline: socket.socket, requests: socket.socket) -> None:
        self._lifeline = lifeline
        self._requests = requests
        self._children = tree.Children()
        self._keepers: set[int] = set()

    def preload(self, modules: Sequence[str]) -> None:
        """Import what services share; a module that is missing or broken is for the service to complain about."""
        for name in modules:
            if select.select([self._lifeline], [], [], 0)[0]:
                return
            try:
                importlib.import_module(name)
            except Exception:  # noqa: BLE001, S112
                continue
        gc.freeze()  # collections in the forks leave these pages shared
        gc.enable()
        if modules:
            huge_pages.collapse()

    def run(self) -> keeper.Program | None:
        """Fork a keeper for each request until the grader ends; in a fork return what it is to do."""
        sources: list[socket.socket | tree.Children] = [self._lifeline, self._requests, self._children]
        while not self._children.told_to_end:
            ready, _, _ = select.select(sources, [], [])
            if self._lifeline in ready:
                break
            if self._children in ready:
                self._reap()
            if self._requests in ready:
                _, received, *_ = socket.recv_fds(self._requests, 1, 1)
                if not received:
                    break
                program = self._fork_keeper(socket.socket(fileno=received[0]))
                if program:
                    return program
        return None

    def _fork_keeper(self, channel: socket.socket) -> keeper.Program | None:
        launcher = os.getpid()
        if pid := os.fork():
            channel.close()
            self._keepers.add(pid)
            return None
        self._children.close()
        self._lifeline.close()
        self._requests.close()
        tree.die_with_parent(signal.SIGTERM, launcher)
        return keeper.keep(channel)

    def _reap(self) -> None:
        lost = False
        for pid, code in self._children.reap():
            lost = lost or pid not in self._keepers or code != 0
            self._keepers.discard(pid)
        if lost:  # somebody killed a keeper, so what it kept has come to us
            tree.kill_descendants(os.getpid(), sparing=self._keepers)

    def end(self) -> None:
        """Let the keepers end their trees, then kill what is left."""
        until = time.monotonic() + KEEPER_LIMIT
        tree.send(list(self._keepers), signal.SIGTERM)
        while self._keepers and (left := until - time.monotonic()) > 0:
            select.select([self._children], [], [], left)
            self._reap()
        self._children.end(grace=0)


def main() -> None:
    """Launch until the grader ends; in a forked service, be the service."""
    lifeline, requests, scratch, *modules = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGHUP):  # for the grader to decide
        signal.signal(number, signal.SIG_IGN)
    launcher = Launcher(socket.socket(fileno=int(lifeline)), socket.socket(fileno=int(requests)))
    serving.end_without_taking_apart()
    gc.disable()  # nothing that an import makes is garbage, and looking for some takes a third of the time
    launcher.preload(modules)
    program = launcher.run()
    if program:
        del launcher
        program()
        return
    launcher.end()
    if scratch:
        import shutil  # noqa: PLC0415  # when nobody waits for it any more

        shutil.rmtree(scratch, ignore_errors=True)
    sys.stderr.flush()
    os._exit(0)
