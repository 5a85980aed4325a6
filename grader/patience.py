"""Time limits that a busy machine cannot break: what the machine took is not held against the service."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from grader.exchange import Exchange
from grader.expectation import Broken, Inconclusive

GRACE = 0.5
"""Seconds that every limit of the contract is extended by."""

WATCHED: set[int] = set()
"""Processes whose waiting for a processor excuses a late answer: the service, its backends, the provider."""


class Stopwatch:
    """Seconds elapsed, and an upper bound of those in which work waited for a processor."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.elapsed = 0.0
        self.starved = 0.0
        self._before = _delays()
        self._lateness = _Lateness() if self._before is None else None

    def stop(self) -> float:
        """Stop and return the seconds elapsed."""
        self.elapsed = time.monotonic() - self.started
        before, after = self._before, _delays()
        if before is not None and after is not None:
            waited = (delay - before.get(thread, 0) for thread, delay in after.items())
            self.starved = sum(max(0, delay) for delay in waited) / 1e9
        elif self._lateness is not None:
            self.starved = self._lateness.stop()
        return self.elapsed

    def verify(self, limit: float, what: str, exchanges: list[Exchange] | None = None) -> None:
        """Break the promise when ``limit`` (seconds) is exceeded by more than grace and starvation can explain.

        Between the two lies what cannot be known: ``Inconclusive``.
        """
        allowed = limit + GRACE
        if self.elapsed <= allowed:
            return
        if self.elapsed - self.starved <= allowed:
            raise Inconclusive(
                f"{what} took {self.elapsed:.1f} s where {limit:g} s are allowed, but for {self.starved:.1f} s of it "
                "the machine had no processor free. Close other programs and grade again.",
            )
        raise Broken(f"{what} took {self.elapsed:.1f} s; at most {limit:g} s are allowed.", exchanges or [])


def _delays() -> dict[tuple[int, int], int] | None:
    """Nanoseconds in which each thread of the grader's own and the watched processes was runnable and did not run.

    By thread, for those that have ended since a first look must not be taken from the others. None where the kernel
    does not tell (other than Linux).
    """
    found: dict[tuple[int, int], int] = {}
    for pid in {os.getpid(), *WATCHED}:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    found[pid, int(task.name)] = int((task / "schedstat").read_text().split()[1])
    return found or None


class _Lateness:
    """Where the kernel does not tell: the total by which short naps of a thread overslept."""

    def __init__(self) -> None:
        self._late = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while True:
            before = time.monotonic()
            if self._done.wait(0.02):
                return
            self._late += max(0.0, time.monotonic() - before - 0.025)

    def stop(self) -> float:
        self._done.set()
        self._thread.join()
        return self._late


@contextlib.contextmanager
def within(limit: float, what: str, exchanges: list[Exchange] | None = None) -> Iterator[Stopwatch]:
    """Run the block and verify that it took at most ``limit`` seconds (plus grace); ``what`` begins the sentence."""
    watch = Stopwatch()
    yield watch
    watch.stop()
    watch.verify(limit, what, exchanges)


def eventually(limit: float, what: str, probe: object, *, every: float = 0.1) -> None:
    """Call ``probe`` until it raises no ``Broken``, for at most ``limit`` seconds plus grace and starvation."""
    if not callable(probe):
        raise TypeError("probe must be callable")
    watch = Stopwatch()
    while True:
        try:
            probe()
        except Broken as broken:
            watch.stop()
            if watch.elapsed - watch.starved > limit + GRACE:
                raise Broken(f"{what}: {broken.message} ({watch.elapsed:.1f} s on)", broken.exchanges) from None
            if watch.elapsed > 3 * (limit + GRACE):
                raise Inconclusive(f"{what}: not seen within {watch.elapsed:.1f} s on a busy machine.") from None
            time.sleep(every)
        else:
            return
