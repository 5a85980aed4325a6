"""Crowd: users whom Locust runs and the grader directs; ``grader.load`` starts this file as Locust's, never imports it.

Locust changes sockets and threads of its whole interpreter, so it has a process of its own. ``LOAD_CHANNEL`` is the
descriptor of a socket to the grader: sections of requests come in, one JSON object a line, what came of each request
goes out. Counts are fixed, every request is sent when it is due, and at the end of the channel all users stop.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from typing import Any, ClassVar

import gevent  # type: ignore[import-untyped]
from gevent.event import Event  # type: ignore[import-untyped]
from gevent.queue import Queue  # type: ignore[import-untyped]
from locust import FastHttpUser, events, task
from locust.env import Environment
from locust.exception import StopUser

LEAD = 0.05
"""Seconds between an order and the start of its section."""

Shot = dict[str, Any]
"""One request: user, due (seconds after the section's start), path, key, body; then what came of it."""


class Section:
    """Requests that belong together, and how many have been begun and ended."""

    def __init__(self, url: str, shots: list[Shot], patience: float) -> None:
        self.url = url
        self.shots = shots
        self.patience = patience
        self.start = time.monotonic() + LEAD
        self.begun, self.note_begun = countdown(len(shots))
        self.ended, self.note_ended = countdown(len(shots))


def countdown(count: int) -> tuple[Event, Callable[[], None]]:
    """Return an event, and a function that sets it when it has been called so often."""
    event, left = Event(), [count]

    def step() -> None:
        left[0] -= 1
        if not left[0]:
            event.set()

    return event, step


class Obedient(FastHttpUser):
    """A client that sends what it is told, each request on a connection of its own."""

    host = "http://127.0.0.1"  # each section brings its own
    max_retries = 0
    max_redirects = 0
    connection_timeout = network_timeout = 600.0  # each section has a patience of its own
    everybody: ClassVar[list[Obedient]] = []

    def on_start(self) -> None:
        """Be there for orders."""
        self.orders: Queue = Queue()
        self.everybody.append(self)

    @task
    def obey(self) -> None:
        """Send one section's requests, none before it is due; stop when there are no more sections."""
        order = self.orders.get()
        if order is None:
            raise StopUser
        section, shots = order
        for shot in shots:
            while (wait := section.start + shot["due"] - time.monotonic()) > 0:
                gevent.sleep(wait)
            section.note_begun()
            self.send(section, shot)
            section.note_ended()

    def send(self, section: Section, shot: Shot) -> None:
        """Send a request and write down what came of it; after ``patience`` seconds the client gives up."""
        headers = {"X-API-Key": shot["key"], "Content-Type": "application/json", "Connection": "close"}
        shot["sent"] = time.monotonic()
        with gevent.Timeout(section.patience):  # the client takes it for an error of the connection
            url = section.url + shot["path"]
            answer = self.client.post(url, data=shot["body"], headers=headers, name=shot["path"])
        shot["seconds"] = time.monotonic() - shot["sent"]
        shot["status"] = answer.status_code
        shot["retry"] = "retry-after" in (answer.headers or {})
        shot["error"] = "" if answer.status_code else error_of(getattr(answer, "error", None))


def error_of(error: BaseException | None) -> str:
    """Name what went wrong with a connection: refused, timeout or reset; clients wrap what the system said."""
    while error is not None:
        if isinstance(error, ConnectionRefusedError):
            return "refused"
        if isinstance(error, TimeoutError | gevent.Timeout):
            return "timeout"
        error = getattr(error, "original", None) or error.__cause__ or error.__context__
    return "reset"


def conduct(environment: Environment) -> None:
    """Carry out one section after another until the grader has closed the channel."""
    channel = socket.socket(fileno=int(os.environ["LOAD_CHANNEL"]))
    with channel, channel.makefile("rw", encoding="utf-8") as lines:

        def tell(**message: object) -> None:
            lines.write(json.dumps(message) + "\n")
            lines.flush()

        tell(ready=len(Obedient.everybody))
        for line in lines:
            section = Section(**json.loads(line))
            give_orders(section)
            section.begun.wait()
            tell(begun=len(section.shots))
            section.ended.wait()
            told = ("sent", "seconds", "status", "retry", "error")
            tell(shots=[[shot[name] for name in told] for shot in section.shots])
    for user in Obedient.everybody:
        user.orders.put(None)
    if environment.runner:
        environment.runner.quit()


def give_orders(section: Section) -> None:
    """Give each user its requests, in their order."""
    orders: dict[int, list[Shot]] = {}
    for shot in section.shots:
        orders.setdefault(shot["user"], []).append(shot)
    for number, shots in orders.items():
        Obedient.everybody[number].orders.put((section, shots))


def begin(environment: Environment, **_: object) -> None:
    """Mend gevent's clock, which stands where the imports began, and listen to the grader once all users are there."""
    gevent.get_hub().loop.update_now()
    # A task that ends the run hangs now and then; a greenlet beside the users does not.
    environment.events.spawning_complete.add_listener(lambda **_: gevent.spawn(conduct, environment))  # type: ignore[no-untyped-call]


events.init.add_listener(begin)  # type: ignore[no-untyped-call]
