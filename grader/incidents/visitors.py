"""Visitors: the background traffic of a drill; Locust runs this file, and it ends by itself.

``VISIT`` holds, as JSON, API ``keys``, ``users`` as pairs of username and password, ``frequent`` questions, and
``habits``: how often a visitor does what, in relation to the rest.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import time
import uuid
from typing import Any

from locust import FastHttpUser, between, task

GIVEN: dict[str, Any] = json.loads(os.environ["VISIT"])
HABITS: dict[str, int] = GIVEN["habits"]

_keys, _users = itertools.cycle(GIVEN["keys"]), itertools.cycle(GIVEN["users"])

NEWS_EVERY_S = 20


class Visitor(FastHttpUser):
    """Somebody whose program has an API key."""

    weight = 3
    wait_time = between(0.6, 2.0)
    max_retries = 0

    def on_start(self) -> None:
        """Take a key."""
        self.headers = {"X-API-Key": next(_keys)}

    def send(self, path: str, message: str, headers: dict[str, str] | None = None) -> None:
        """POST a message and take any answer; whoever is on call judges it."""
        self.client.post(path, json={"message": message}, headers=headers or self.headers)

    @task(HABITS["ask_anew"])
    def ask_anew(self) -> None:
        """Ask what nobody asked before."""
        self.send("/chat", f"Please look into case {random.randrange(10**8, 10**9)}.")

    @task(HABITS["ask_again"])
    def ask_again(self) -> None:
        """Ask what many ask."""
        self.send("/chat", random.choice(GIVEN["frequent"]))

    @task(HABITS["hand_in"])
    def hand_in(self) -> None:
        """Have a worker answer."""
        self.send("/chat-async", f"Summarise case {random.randrange(10**8, 10**9)} for the archive.")

    @task(HABITS["flock"])
    def flock(self) -> None:
        """Ask for the news as soon as there are some, with a key that many share."""
        now = time.time()
        time.sleep(NEWS_EVERY_S - now % NEWS_EVERY_S)  # Locust has made this a pause of one visitor
        shared = {"X-API-Key": GIVEN["keys"][0]}
        self.send("/chat", f"What is new in edition {int(now // NEWS_EVERY_S)}?", shared)

    @task(HABITS["wander"])
    def wander(self) -> None:
        """Try paths, as scanners do."""
        self.client.get(f"/{random.choice(('backup', 'admin', 'wp', '.git'))}/{uuid.uuid4().hex[:8]}")


class Employee(FastHttpUser):
    """Somebody who logs in and works for a while."""

    weight = 1
    wait_time = between(0.8, 2.0)
    max_retries = 0

    def on_start(self) -> None:
        """Be somebody."""
        self.username, self.password = next(_users)
        self.token, self.left = "", 0

    @task
    def work(self) -> None:
        """Log in now and then, and use the token in between."""
        if self.left <= 0:
            form = {"username": self.username, "password": self.password}
            answer = self.client.post("/login", data=form)
            self.token = json.loads(answer.text or "{}").get("access_token", "") if answer.status_code == 200 else ""
            self.left = GIVEN["habits"]["work"] if self.token else 0
            return
        self.left -= 1
        self.client.get("/protected", headers={"Authorization": f"Bearer {self.token}"})
