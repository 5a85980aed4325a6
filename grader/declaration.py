"""What a check file declares: a lab, and checks with points, hints and prerequisites."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

CheckFunction = TypeVar("CheckFunction", bound=Callable[..., None])


@dataclass(frozen=True)
class Lab:
    """A lab's own data; number, slug and title follow from its module.

    ``users`` is the number of users that the lab's main service is seeded with (at most 10; each costs its start a
    password hash). ``env`` are settings of that service which differ from the defaults of a run. ``database`` is
    ``sqlite`` or ``postgres``. With ``worker`` the main service has its background worker beside it.
    The checks run in ``parts`` side by side, each with a main service and a stack of its own.
    """

    minutes: int
    users: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    database: str = "sqlite"
    worker: bool = False
    parts: int = 1


@dataclass(frozen=True)
class Check:
    """One promise of the contract, and how it is proved."""

    function: Callable[..., None]
    points: int
    hints: tuple[str, ...]
    needs: tuple[str, ...]
    guard: bool
    load: bool
    timing: bool
    timeout: float
    exclusive: bool
    ahead: tuple[Callable[[Any], Any], ...]
    waits: float

    @property
    def name(self) -> str:
        """The name of the function without its prefix."""
        return self.function.__name__.removeprefix("check_")

    @property
    def promise(self) -> str:
        """The sentence that the learner reads."""
        return " ".join((inspect.getdoc(self.function) or "").split())

    @property
    def line(self) -> int:
        """Line of the definition; results come in this order."""
        return self.function.__code__.co_firstlineno


def check(
    *,
    points: int = 1,
    hints: Sequence[str] = (),
    needs: Sequence[Callable[..., None]] = (),
    guard: bool = False,
    load: bool = False,
    timing: bool = False,
    timeout: float = 60.0,
    exclusive: bool = False,
    ahead: Sequence[Callable[[Any], Any]] = (),
    waits: float = 0.0,
) -> Callable[[CheckFunction], CheckFunction]:
    """Declare a check.

    ``needs`` are checks that must have passed, else this one is skipped. A ``guard`` holds before the lab is solved
    and carries no points. ``load`` checks run alone, after all others. ``timing`` checks are run once more when they
    were inconclusive. ``timeout`` ends a check that hangs (seconds). An ``exclusive`` check disturbs what its lab's
    other checks share and runs after them. What stands in ``ahead`` takes long and is begun when the lab begins; the
    check gets it by ``services.shared(function)``. What a check ``waits`` is about how many seconds it
    keeps its part of the lab waiting, for time to pass or for cold starts: the parts of a lab are made alike by it, and
    what waits long is begun first.
    """

    def declare(function: CheckFunction) -> CheckFunction:
        declared = Check(
            function=function,
            points=0 if guard else points,
            hints=tuple(hints),
            needs=tuple(need.__name__.removeprefix("check_") for need in needs),
            guard=guard,
            load=load,
            timing=timing or load,
            timeout=timeout,
            exclusive=exclusive,
            ahead=tuple(ahead),
            waits=waits,
        )
        function.check = declared  # type: ignore[attr-defined]
        return function

    return declare


def declared_in(module: Any) -> list[Check]:  # noqa: ANN401  # a module with any content
    """Return a module's checks in file order."""
    found = [value.check for value in vars(module).values() if isinstance(getattr(value, "check", None), Check)]
    return sorted(found, key=lambda one: one.line)
