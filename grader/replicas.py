"""Replicas: three of them that have to act as one, taken in turns or behind a real load balancer (contract, lab 9)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from grader.allowance import Tally, clear_of_boundary
from grader.exchange import burst
from grader.expectation import Skip, demand, expect
from grader.messages import new_message, nonce
from grader.parts import PartMissingError
from grader.proxy import LoadBalancer
from grader.sqlite import SqliteDatabase
from grader.tasks import ROUTE, accepted, look

if TYPE_CHECKING:
    from grader.api import Api
    from grader.bench import Bench
    from grader.client import Caller
    from grader.postgres import PostgresDatabase
    from grader.provider import Provider

TRIO = {
    "RATE_LIMIT_REQUESTS": "12",
    "BUCKET_CAPACITY": "60",
    "BUCKET_REFILL_PER_S": "1",
    "LOGIN_MAX_FAILURES": "3",
    "LLM_TIMEOUT_S": "20",
    "DB_POOL_SIZE": "1",
    "DB_MAX_OVERFLOW": "0",
}


def trio(bench: Bench) -> list[Api]:
    """Three replicas over one PostgreSQL and one Redis, each with a pool of a single connection."""
    try:
        return bench.replicas(3, users=1, database="postgres", together=True, **TRIO)
    except PartMissingError as missing:
        raise Skip(str(missing)) from None


def connected(api: Api) -> PostgresDatabase:
    """Return the PostgreSQL database of a replica."""
    if isinstance(api.database, SqliteDatabase):
        raise TypeError("the replicas share a PostgreSQL database")
    return api.database


class Turns:
    """Takes a caller to one address after another, as a balancer without sticky sessions does."""

    def __init__(self, replicas: Sequence[Api]) -> None:
        self.addresses = [replica.address for replica in replicas]
        self.turn = 0

    def __call__(self, caller: Caller) -> Caller:
        """Return the caller at the next address."""
        self.turn += 1
        return caller.at(self.addresses[self.turn % len(self.addresses)])


To = Callable[["Caller"], "Caller"]


def share_limits(api: Api, to: To) -> None:
    """Requests, work and failed logins of one caller are counted together."""
    limit, window = api.settings.limit, api.settings.window
    caller = api.new_caller()
    clear_of_boundary(window)
    tally = Tally.of([to(caller).chat() for _ in range(limit + 3)])
    tally.verify(limit, limit / window, "to three replicas in turn", window=window)
    caller = api.new_caller()
    clear_of_boundary(window)
    tally = Tally.of_burst([to(caller).prepare_chat() for _ in range(2 * limit)])
    tally.verify(limit, limit / window, "to three replicas at once", processes=3, window=window)
    caller, price = api.new_caller(), 10
    spent = [to(caller).post("/expensive-operation", params={"tokens_needed": price}) for _ in range(10)]
    Tally.of(spent).verify(api.settings.capacity, api.settings.refill, "for 10 tokens each, in turn", price=price)
    form = {"username": nonce(), "password": nonce()}
    tries = [to(api.anonymous).post("/login", data=form) for _ in range(3 * api.settings.integer("LOGIN_MAX_FAILURES"))]
    wrong = sum(each.status == 401 for each in tries)
    most = api.settings.integer("LOGIN_MAX_FAILURES")
    demand(wrong == most, f"{wrong} of {len(tries)} wrong logins were 401, expected {most}; then 429.", tries[-1:])


def share_answers(api: Api, provider: Provider, to: To) -> None:
    """What one replica has stored or taken in, the others know."""
    caller, message, key = api.new_caller(), new_message(), nonce()
    expect(to(caller).chat(message)).status(200).header("X-Cache", "MISS")
    for _ in range(2):
        expect(to(caller).chat(message)).status(200).header("X-Cache", "HIT")
    demand(len(provider.calls(message)) == 1, "Replicas asked the provider again for a stored answer.")
    body, headers = {"message": new_message()}, {"Idempotency-Key": key}
    answers = burst([to(caller).prepare("POST", ROUTE, json=body, headers=headers) for _ in range(6)])
    tasks = {accepted(answer) for answer in answers}
    demand(len(tasks) == 1, f"One key led to {len(tasks)} tasks on three replicas.", answers[:2])
    task = tasks.pop()
    for _ in range(3):
        expect(look(to(caller), task)).status(200, because="another replica took the task in")


@contextmanager
def balanced(services: Bench, replicas: Sequence[Api]) -> Iterator[To]:
    """A real balancer before the replicas."""
    try:
        caddy = LoadBalancer(services.stack.supervisor, services.directory, [each.address[1] for each in replicas])
    except PartMissingError as missing:
        raise Skip(str(missing)) from None
    with caddy:
        yield lambda caller: caller.at(("127.0.0.1", caddy.port))
