"""Shift: parts of labs that are checked in worker processes, so many at once, and the news of them."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import multiprocessing.connection
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from grader.report import CheckResult

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from grader.course import Chapter
    from grader.declaration import Check

_FORK = multiprocessing.get_context("fork")

PATIENCE_WITH_A_SILENT_LAB = 300.0
"""Seconds without news after which a lab's worker is given up."""


_WORK = 0.2
"""Seconds that a check is taken to work."""


@dataclass(frozen=True)
class Part:
    """The checks of one lab that one worker runs."""

    chapter: Chapter
    names: frozenset[str]
    load: bool
    number: int

    @property
    def name(self) -> str:
        """What its folder and its random numbers are named after."""
        return f"{self.chapter.stem}-{'load' if self.load else 'checks'}{self.number or ''}"

    @property
    def checks(self) -> list[Check]:
        """Its checks in file order."""
        return [check for check in self.chapter.checks if check.name in self.names]

    @property
    def waits(self) -> float:
        """About how long its checks keep it waiting (seconds)."""
        return sum(check.waits for check in self.checks)


def divided(chapter: Chapter, checks: Sequence[Check], count: int, *, load: bool) -> list[Part]:
    """Divide checks of a lab into so many parts that last about as long as one another; none is empty."""
    shares: list[list[Check]] = [[] for _ in range(count)]
    for check in sorted(checks, key=lambda check: -check.waits):
        min(shares, key=lambda share: sum(_WORK + one.waits for one in share)).append(check)
    named = [frozenset(check.name for check in share) for share in shares if share]
    return [Part(chapter, names, load, number) for number, names in enumerate(named)]


@dataclass
class Labwork:
    """A part under way in a worker process."""

    part: Part
    process: BaseProcess
    news: Connection
    results: list[CheckResult] = field(default_factory=list)
    current: tuple[str, str] = ("", "")
    started: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Time since it was begun."""
        return time.monotonic() - self.started


Perform = Callable[[Part, "Connection"], None]
"""What a worker does: check a part and send news of it, pairs of a kind and a value, the last of kind ``done``."""


class Shift:
    """Works parts off in the order in which they are given."""

    def __init__(
        self,
        parts: Iterable[Part],
        *,
        at_once: int,
        perform: Perform,
        hear: Callable[[Labwork, str, Any], None],
    ) -> None:
        """``hear`` is told the news, and of kind ``problem`` why there will be none; at the end of kind ``ended``."""
        self._waiting = list(parts)
        self._working: list[Labwork] = []
        self._at_once = at_once
        self._perform = perform
        self._hear = hear

    @contextlib.contextmanager
    def ended(self) -> Iterator[Shift]:
        """End what is still under way when the block is left."""
        try:
            yield self
        finally:
            for labwork in self._working:
                labwork.process.terminate()
            for labwork in self._working:
                labwork.process.join(10)

    def begin(self) -> None:
        """Begin as many parts as there is room for; their news waits until somebody asks for it."""
        while self._waiting and len(self._working) < self._at_once:
            self._working.append(self._fork(self._waiting.pop(0)))

    def finish(self) -> None:
        """Work everything off."""
        self.begin()
        while self._working:
            self._working = self._listen(self._working)
            self.begin()

    def _fork(self, part: Part) -> Labwork:
        ours, theirs = _FORK.Pipe(duplex=False)
        process = _FORK.Process(target=self._perform, args=(part, theirs), daemon=True)
        gc.freeze()  # collections in the fork leave our pages shared
        with warnings.catch_warnings():  # the only other thread draws the live report, which the fork never touches
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        gc.unfreeze()  # ours go on
        theirs.close()
        return Labwork(part, process, ours)

    def _listen(self, working: list[Labwork]) -> list[Labwork]:
        """Take in news of the parts under way; return those that go on."""
        ready = multiprocessing.connection.wait([labwork.news for labwork in working], timeout=1.0)
        going_on = []
        for labwork in working:
            done = self._take_in(labwork) if labwork.news in ready else self._given_up(labwork)
            if done:
                labwork.process.join(10)
                self._hear(labwork, "ended", labwork.seconds)
            else:
                going_on.append(labwork)
        return going_on

    def _take_in(self, labwork: Labwork) -> bool:
        labwork.heard = time.monotonic()
        try:
            kind, value = labwork.news.recv()
        except (EOFError, OSError):
            self._hear(labwork, "problem", "The lab's checks ended unexpectedly.")
            return True
        self._hear(labwork, kind, value)
        return bool(kind == "done")

    def _given_up(self, labwork: Labwork) -> bool:
        if time.monotonic() - labwork.heard < PATIENCE_WITH_A_SILENT_LAB:
            return False
        labwork.process.terminate()
        self._hear(labwork, "problem", f"The check {labwork.current[0]!r} did not end.")
        return True
