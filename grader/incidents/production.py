"""Production: replicas behind a balancer, a worker, Redis, PostgreSQL and the model, as a plan describes them."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from grader.expectation import Inconclusive
from grader.patience import Stopwatch
from grader.proxy import LoadBalancer
from grader.submission import Submission

if TYPE_CHECKING:
    import redis

    from grader.api import Api
    from grader.bench import Bench
    from grader.client import Caller
    from grader.incidents.plan import Plan, Replica
    from grader.provider import Gate, Provider
    from grader.supervisor import Process

USERS = 8
VISITORS = 8
_REDIS_DEFAULTS = {"maxmemory": "0", "maxmemory-policy": "noeviction"}
BALANCED_WITHIN = 30.0
"""Seconds in which the balancer has noticed that a replica is not ready, on a machine that is busy."""

SOON = 5.0
"""Seconds for calls to reach the model; those that wait for one another never get there."""

PATIENCE = 60.0
"""Seconds that customers of a proof wait for an answer, and that its model may take."""


class Production:
    """What runs; balancer and worker start when they are first asked for."""

    def __init__(self, bench: Bench, folder: Path, plan: Plan, changes: Mapping[str, str], scratch: Path) -> None:
        """Start the replicas. Raises ``StartFailedError`` when one does not come up."""
        self._bench = bench
        self._scratch = scratch
        self._folder = folder
        self._plan = plan
        self._copies: dict[str, Submission] = {}
        self._ending = contextlib.ExitStack()
        self.provider: Provider = bench.provider
        self.settings = {**plan.settings, **changes}
        server = bench.stack.redis.client()
        server.flushall()
        for name, value in (_REDIS_DEFAULTS | plan.redis).items():
            server.config_set(name, value)
        self.replicas = self._start_replicas()

    def _start_replicas(self) -> list[Api]:
        """Start a plain one, which makes the database's tables, then the others at the same time."""
        plain = next(number for number, replica in enumerate(self._plan.replicas) if not replica.env)
        own = self._bench_of(self._plan.replicas[plain].service)
        (api,) = own.launch(1, users=USERS, database="postgres", together=False, **self.settings)
        others = [replica for number, replica in enumerate(self._plan.replicas) if number != plain]
        benches = [self._bench_of(replica.service) for replica in others]

        def start(bench: Bench, replica: Replica) -> Api:
            return bench.another(api, **replica.env)

        with ThreadPoolExecutor(len(others)) as threads:
            started = list(threads.map(start, benches, others))
        return [*started[:plain], api, *started[plain:]]

    def _bench_of(self, service: str) -> Bench:
        return self._bench.sibling(submission=self._code_of(service))

    def _code_of(self, service: str) -> Submission:
        """Return a copy of the code, so that nothing that runs can change the learner's files."""
        if service not in self._copies:
            self._copies[service] = Submission.at(self._folder / service).copy_to(self._scratch / f"code-{service}")
        return self._copies[service]

    @property
    def first(self) -> Api:
        """A replica with production's settings and nothing of its own."""
        return next(api for api, replica in zip(self.replicas, self._plan.replicas, strict=True) if not replica.env)

    @property
    def unlucky(self) -> int:
        """The number of the replica to which the world does something: not the first one's."""
        return next(number for number, api in enumerate(self.replicas) if api is not self.first)

    def replace(self, number: int, **changes: str) -> Api:
        """Start a replica again with other settings, on another port; before the balancer is asked for."""
        old, planned = self.replicas[number], self._plan.replicas[number]
        old.service.stop(grace=1.0)
        self.replicas[number] = self._bench_of(planned.service).another(old, **changes)
        return self.replicas[number]

    @cached_property
    def balancer(self) -> LoadBalancer:
        """The load balancer, once it has looked at every replica."""
        ports = [api.address[1] for api in self.replicas]
        plan = self._plan
        started = LoadBalancer(
            self._bench.learners, self._scratch, ports, health_path=plan.health, interval=plan.interval
        )
        self._ending.callback(started.close)
        return started

    def through(self, caller: Caller) -> Caller:
        """Return the caller at the balancer."""
        return caller.at(("127.0.0.1", self.balancer.port))

    @cached_property
    def worker(self) -> Process:
        """The background worker."""
        return self._bench_of(self._plan.worker).worker(self.first)

    @cached_property
    def redis(self) -> redis.Redis:
        """A client of the replicas' Redis database."""
        return self.first.redis

    @cached_property
    def visitors(self) -> list[Caller]:
        """The customers of a drill, by API key."""
        return [self.first.new_caller() for _ in range(VISITORS)]

    def leaves_out(self, number: int) -> bool:
        """Tell whether the balancer leaves a replica out; returns when it does, or when it has no reason to."""
        api = self.replicas[number]
        answer = api.anonymous.get(self._plan.health)
        if answer.status in range(200, 300):
            return False
        return self.balancer.wait_until_out(api.address[1], BALANCED_WITHIN)

    def close(self) -> None:
        """End what the bench does not end itself."""
        self._ending.close()


def gathered(gate: Gate, count: int, within: float = SOON) -> int:
    """Wait until so many calls are held, ``within`` seconds beyond those without a processor; give how many are.

    Raises ``Inconclusive`` on a machine that is too busy to tell.
    """
    watch = Stopwatch()
    while (held := gate.wait_held(count, timeout=1.0)) < count:
        watch.stop()
        if watch.elapsed - watch.starved > within:
            break
        if watch.elapsed > PATIENCE / 2:
            raise Inconclusive(
                f"The machine was too busy to see {count} calls at once. Close other programs, then again."
            )
    return held


@contextlib.contextmanager
def running(bench: Bench, folder: Path, plan: Plan, changes: Mapping[str, str] | None = None) -> Iterator[Production]:
    """Run a production on the servers of a bench, which run one at a time; Redis is emptied first.

    Raises ``StartFailedError`` and ``PartMissingError``.
    """
    scratch = Path(tempfile.mkdtemp(dir=bench.directory))
    own = bench.sibling(provider=bench.provider.sibling())
    try:
        production = Production(own, folder, plan, changes or {}, scratch)
        try:
            yield production
        finally:
            production.close()
    finally:
        own.end()
        own.provider.close()
        shutil.rmtree(scratch, ignore_errors=True)
