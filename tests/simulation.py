"""A world in which time passes only when something happens: checks run in it as they are, thousands of times.

The clock, the wire and the provider are replaced, nothing else: callers, requests, bursts, tallies and the checks
themselves are the real ones. How long everything takes is drawn, so that a machine can be as slow as one likes.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from grader import allowance, api, exchange, limited, messages, patience, wire
from grader import settings as drawn
from grader.api import Api, Pool
from grader.checks import lab_04_rate_limiting, lab_05_caching
from grader.provider.ledger import Call
from grader.settings import Settings
from tests.limiters import Moment

CLOCKED: tuple[ModuleType, ...] = (
    allowance,
    api,
    exchange,
    limited,
    patience,
    wire,
    lab_04_rate_limiting,
    lab_05_caching,
)
"""Modules that look at the clock while a check runs."""


@dataclass(frozen=True)
class Pace:
    """How slow a machine is: the mean of each step in seconds, and how often it stands still, and for how long."""

    step: float
    stalls: float = 0.0
    stall: float = 0.0


QUICK = Pace(0.002)
BUSY = Pace(0.02, 0.01, 0.3)
CROWDED = Pace(0.08, 0.03, 1.5)
PACES = (QUICK, BUSY, CROWDED)


class World:
    """The clock, what will happen, and how long the machine has stood still."""

    def __init__(self, chance: random.Random, pace: Pace) -> None:
        self.chance = chance
        self.pace = pace
        self.now = chance.uniform(0, 10_000)
        self.wall_ahead = chance.uniform(0, 100_000)
        self.starved = 0.0
        self._order = itertools.count()
        self._coming: list[tuple[float, int, Callable[[], None]]] = []

    @property
    def moment(self) -> Moment:
        """The time on both clocks."""
        return Moment(self.now, self.now + self.wall_ahead)

    def step(self) -> float:
        """Draw how long something takes."""
        seconds = self.chance.expovariate(1 / self.pace.step)
        if self.chance.random() < self.pace.stalls:
            stall = min(self.chance.expovariate(1 / self.pace.stall), 4.0)
            self.starved += stall
            seconds += stall
        return seconds

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Let something happen later."""
        heapq.heappush(self._coming, (self.now + seconds, next(self._order), action))

    def run(self, over: Callable[[], bool] = lambda: False, until: float = float("inf")) -> bool:
        """Let things happen until something is over, or until a time; whether it is over."""
        while not over():
            if not self._coming or self._coming[0][0] > until:
                if until < float("inf"):
                    self.now = max(self.now, until)
                return over()
            moment, _, action = heapq.heappop(self._coming)
            self.now = max(self.now, moment)
            action()
        return True

    def sleep(self, seconds: float) -> None:
        """Let time pass, and never less than was asked for."""
        self.run(until=self.now + max(0.0, seconds) + self.step())

    @property
    def time(self) -> SimpleNamespace:
        """What stands for the module ``time``."""
        return SimpleNamespace(monotonic=lambda: self.now, time=lambda: self.moment.wall, sleep=self.sleep)


@dataclass
class Talk:
    """One request under way, as ``grader.wire.Talk`` has it, without a socket."""

    world: World
    services: Mapping[wire.Address, Service]
    address: wire.Address
    request: wire.Request
    deadline: float
    source: str = ""
    status: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    error: str = ""
    started: float = 0.0
    head_at: float = 0.0
    finished: float = 0.0
    closed: bool = False

    @property
    def over(self) -> bool:
        return self.status is not None or bool(self.error)

    def open(self, *, hold_back: int = 0) -> None:
        self.started = self.world.now
        self.world.run(until=self.world.now + self.world.step())
        if not hold_back:
            self.send()

    def release(self) -> None:
        self.started = self.world.now
        self.send()

    def send(self) -> None:
        self.world.after(self.world.step(), lambda: self.services[self.address].receive(self))

    def answer(self, status: int, body: Mapping[str, object], headers: Mapping[str, str]) -> None:
        """Let an answer be on its way back."""
        self.world.after(self.world.step(), lambda: self._finish(status, body, headers))

    def _finish(self, status: int, body: Mapping[str, object], headers: Mapping[str, str]) -> None:
        self.status, self.body = status, json.dumps(body).encode()
        self.headers = list(headers.items())
        self.head_at = self.finished = self.world.now

    def close(self) -> None:
        self.closed = True

    def wait(self, until: float | None = None) -> bool:
        return self.world.run(lambda: self.over, self.deadline if until is None else until)


class Provider:
    """The ledger, and gates."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ledger: list[Call] = []
        self.gates: list[Gate] = []

    def call(self, text: str, then: Callable[[Call], None]) -> None:
        """Enter a call, and answer it some time later, when no gate holds it any more."""
        number = len(self.ledger) + 1
        content = f"Answer {number} to {text}"
        call = Call(number, "chat", "lab-large", False, text, {}, {}, self.world.now, 1, content=content)
        self.ledger.append(call)

        def answer() -> None:
            self.world.after(self.world.step(), lambda: then(call))

        gate = next((gate for gate in self.gates if gate.containing in text), None)
        if gate:
            gate.held.append(answer)
        else:
            answer()

    def calls(self, containing: str = "", *, kind: str = "chat", **_: object) -> list[Call]:
        return [call for call in self.ledger if containing in call.text and call.kind == kind]

    @contextmanager
    def gate(self, containing: str) -> Iterator[Gate]:
        gate = Gate(self.world, containing)
        self.gates.append(gate)
        yield gate
        self.gates.remove(gate)
        gate.open()


@dataclass
class Gate:
    """Holds calls until it is opened."""

    world: World
    containing: str
    held: list[Callable[[], None]] = field(default_factory=list)

    def wait_held(self, count: int, timeout: float = 10.0) -> int:
        self.world.run(lambda: len(self.held) >= count, self.world.now + timeout)
        return len(self.held)

    def open(self) -> None:
        while self.held:
            self.held.pop()()


@dataclass(frozen=True)
class Asked:
    """A request as a service sees it."""

    caller: str
    path: str
    query: Mapping[str, str]
    body: Any
    reply: Callable[..., None]


@dataclass
class Service:
    """One process: it knows callers by their keys, and leaves the rest to what it was built with."""

    world: World
    settings: Settings
    address: wire.Address
    handle: Callable[[Asked], None]
    name: str = "service"
    running: bool = True

    def __post_init__(self) -> None:
        self.clients = json.loads(self.settings.env["API_KEYS"])

    @property
    def url(self) -> str:
        return f"http://{self.address[0]}:{self.address[1]}"

    def stop(self) -> None:
        self.running = False

    def receive(self, talk: Talk) -> None:
        request = talk.request
        sent = {name.lower(): value for name, value in request.headers}
        digest = hashlib.sha256(sent.get(b"x-api-key", b"")).hexdigest()
        caller = self.clients[digest]["client"]
        target = urlsplit(request.target)
        body = json.loads(request.body) if request.body else None
        self.handle(Asked(caller, target.path, dict(parse_qsl(target.query)), body, talk.answer))


class Bench:
    """Starts services; replicas share what ``shared`` holds, and each has what ``build`` makes for itself."""

    def __init__(
        self, world: World, build: Callable[[Bench, Settings, dict[str, Any]], Callable[[Asked], None]], **env: str
    ) -> None:
        self.world = world
        self.build = build
        self.env = env
        self.rng = world.chance
        self.provider = Provider(world)
        self.services: dict[wire.Address, Service] = {}
        self._stores: dict[str, dict[str, Any]] = {}
        self._built: dict[Callable[..., Any], Any] = {}

    def start(self, **changes: str) -> Api:
        return self.replicas(1, **changes)[0]

    def replicas(self, count: int, **changes: str) -> list[Api]:
        number = str(len(self.services))
        given = {"REDIS_URL": number, **self.env, **changes}
        settings = Settings.draw(users=0, changes=given, rng=self.rng, callers=12)
        pool = Pool.of(settings)
        return [self._serve(settings, pool) for _ in range(count)]

    def another(self, api: Api, **changes: str) -> Api:
        settings = Settings({**api.settings.env, **changes}, api.settings.keys, api.settings.users)
        return self._serve(settings, api.pool)

    def shared(self, build: Callable[[Any], Any]) -> Any:
        if build not in self._built:
            self._built[build] = build(self)
        return self._built[build]

    def _serve(self, settings: Settings, pool: Pool) -> Api:
        address = ("127.0.0.1", 1 + len(self.services))
        store = self._stores.setdefault(settings.env["REDIS_URL"], {})
        service = Service(self.world, settings, address, self.build(self, settings, store))
        self.services[address] = service
        return Api(service, settings, pool, database=None)  # type: ignore[arg-type]


def converse(talks: Sequence[Talk], *, until: float | None = None) -> bool:
    """Carry on with all conversations, as ``grader.wire.converse`` does."""
    ended = [talk.wait(until) for talk in talks]  # each of them, also after one that has not
    return all(ended)


@contextmanager
def inside(bench: Bench) -> Iterator[None]:
    """Let the grader live in the bench's world."""
    world = bench.world
    messages.reseed(str(world.chance.random()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawn, "OTHER_KEYS", {"admin": 2, "guest": 2})
        for module in CLOCKED:
            if hasattr(module, "time"):
                patch.setattr(module, "time", world.time)
        patch.setattr(wire, "Talk", lambda *given: Talk(world, bench.services, *given))
        patch.setattr(wire, "converse", converse)
        patch.setattr(patience, "_delays", lambda: {(0, 0): round(world.starved * 1e9)})
        yield
