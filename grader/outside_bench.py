"""The bench of `grade --target`: one service that is there already, and nothing else that could be started."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, cast

from grader.api import Api, Pool
from grader.bench import Bench
from grader.client import Caller
from grader.expectation import Skip
from grader.messages import new_message
from grader.outside import SPANS, Target, Unseen, unseen
from grader.provider import ProviderError
from grader.report import StartProblem
from grader.settings import Settings
from grader.worker import Workshop

if TYPE_CHECKING:
    from grader import wire
    from grader.service import Service
    from grader.stack import SqliteDatabase, Stack
    from grader.submission import Submission

ROLES = ("user", "admin", "guest")
KEYS, USERS = "API keys (GRADE_API_KEYS)", "seeded users (SEED_USERS)"


def _needs_a_start(*_: object, **__: object) -> NoReturn:
    unseen("a service that is started with settings of its own")


class OutsideBench(Bench):
    """What checks work with when nothing can be started."""

    outside = True

    def __init__(self, target: Target, taken: Mapping[str, Any]) -> None:
        self.target = target
        self.taken = taken
        self.stack = cast("Stack", Unseen("the Redis and the databases behind the service"))
        self.submission = cast("Submission", Unseen("the service's files", root=Path("/nowhere")))
        self.provider = target.provider()
        self.rng = random.Random()

    def __getattr__(self, name: str) -> NoReturn:
        """Skip whatever else a check may ask a bench for; mistaking it for the service's fault would be a lie."""
        if name.startswith("__"):
            raise AttributeError(name)
        unseen("something of the grader's own stack")

    start = replicas = launch = start_without_database = _needs_a_start
    another = worker = command = run = refuses = shared = _needs_a_start

    def sibling(self, **_: object) -> Bench:
        """Return a bench whose only service is the target."""
        return _Home(self.target, self.taken)

    def begin(self, build: Callable[[Bench], Any]) -> None:
        """Begin nothing: what takes long would be a service of its own."""

    def mark(self) -> int:
        """Nothing is started, so nothing is marked."""
        return 0

    def end_since(self, mark: int) -> None:
        """Nothing is ended."""

    def end(self) -> None:
        """Take back what was scripted at the provider."""
        if self.target.control is not None:
            self.provider.reset()

    def recent(self, names: set[str]) -> list[Service]:  # noqa: ARG002
        """No service's output can be read."""
        return []


class _Home(OutsideBench):
    """The bench of the lab's main service, which is there already."""

    def start(self, **wanted: Any) -> Api:  # type: ignore[override]  # noqa: ANN401
        """Return the target, if it is set up as the lab's checks want it."""
        if unfit := self.target.unfit({name: value for name, value in wanted.items() if name in SPANS}):
            raise Skip(unfit)
        host, port = self.target.address
        known = {"address": (host, port), "name": "target", "url": f"http://{host}:{port}", "alive": True}
        process = Unseen("the service's process")
        service = cast("Service", Unseen("the service's output and process", process=process, **known))
        settings = Settings(self.target.env, self.target.keys, self.target.users)
        return _OutsideApi(service, settings, self._pool(), database=cast("SqliteDatabase", Unseen("the database")))

    def _pool(self) -> Pool:
        return Pool(
            {role: self._fresh(KEYS, role, self.target.keys) for role in ROLES},
            {role: self._fresh(USERS, role, self.target.users) for role in ROLES},
        )

    def _fresh(self, what: str, role: str, every: Sequence[Any]) -> Iterator[Any]:
        """Give what no check of this run has used; labs are other processes, so they count together."""
        fitting, counter = [each for each in every if each.role == role], self.taken[f"{what} {role}"]
        while True:
            with counter.get_lock():
                number = counter.value
                counter.value += 1
            if number >= len(fitting):
                raise Skip(f"It needs more unused {what} of the role {role} than the target has.")
            yield fitting[number]


class _OutsideCaller(Caller):
    """Somebody who calls from one address: what stands before the target may hide it."""

    def at(self, address: wire.Address, *, source: str = "") -> Caller:
        """Return the caller at an address, and only from this machine's usual one."""
        if source:
            unseen("a caller at another address, which a load balancer would hide")
        return super().at(address)


class _OutsideApi(Api):
    """The target as checks see it."""

    redis = cast("Any", Unseen("the Redis behind the service"))

    def _caller(self, headers: Mapping[str, str], name: str) -> Caller:
        return _OutsideCaller(self.address, headers, service="target", name=name, disguise=self.settings.disguise)

    def without_database(self) -> NoReturn:
        """Out of reach."""
        unseen("the database behind the service")


@dataclass(frozen=True)
class OutsideWorkshop(Workshop):
    """What the labs of a run share: the target, and who has called it already."""

    target: Target
    taken: Mapping[str, Any]

    @classmethod
    def around(cls, target: Target) -> OutsideWorkshop:
        """Lay it out; counters are shared memory, as each lab runs in a fork."""
        kinds = [f"{what} {role}" for what in (KEYS, USERS) for role in ROLES]
        nobody = cast("Any", SimpleNamespace(sandbox=None))  # no process is started, so nobody supervises one
        taken = {kind: multiprocessing.Value("i", 0) for kind in kinds}
        return cls(Path(), 0, nobody, nobody, nobody, target, taken)

    @contextlib.contextmanager
    def bench(self, submission: Submission, name: str) -> Iterator[Bench]:  # noqa: ARG002
        """Lay out a bench for one lab."""
        bench = OutsideBench(self.target, self.taken)
        try:
            yield bench
        finally:
            bench.end()

    def try_start(self, submission: Submission) -> StartProblem | None:  # noqa: ARG002
        """See whether the target answers, and is what its env file says."""
        host, port = self.target.address
        key = next((key.secret for key in self.target.keys if key.role == "user"), "")
        caller = Caller((host, port), {"X-API-Key": key}, service="target", name="user")
        answer = caller.get("/health", timeout=10.0)
        if answer.status is None:
            return _problem(f"Nobody answers at http://{host}:{port}: {answer.error or 'no answer'}.")
        self.taken[f"{KEYS} user"].value += 1
        answer = caller.chat(message := new_message())
        if answer.status == 401:
            return _problem(
                "The target refuses the callers that the env file names: is it the one it was started with?"
            )
        try:
            if answer.status == 200 and self.target.control and not self.target.provider().calls(message):
                return _problem("The provider that --provider names is not the one that the target asks.")
        except ProviderError:
            return _problem("The provider that --provider names does not answer, or its PROVIDER_TOKEN is another one.")
        return None


def _problem(cause: str) -> StartProblem:
    return StartProblem(cause=cause, log=())
