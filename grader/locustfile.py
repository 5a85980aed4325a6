"""Visitors for Locust's web page (``grade 9 --load-ui``), and shapes that bring them: a ramp and a soak.

Without the grader: ``LOAD_KEYS='["lab-user-key"]' locust -f grader/locustfile.py --host http://127.0.0.1:8000``;
``LOAD_SHAPE=ramp`` or ``soak`` lets the number of users follow a shape.
"""

from __future__ import annotations

import json
import os
import random
import time
from typing import Any

from locust import FastHttpUser, LoadTestShape, between, task

KEYS: list[str] = json.loads(os.environ.get("LOAD_KEYS", "[]"))
SHAPE = os.environ.get("LOAD_SHAPE", "")

QUESTIONS = (
    "How many replicas do I need?",
    "What is a token bucket?",
    "Explain a circuit breaker.",
    "Why is p95 not the average?",
)


class Visitor(FastHttpUser):
    """Somebody who chats: half of it asked before, now and then something longer, with pauses to read."""

    wait_time = between(0.5, 2.0)
    max_retries = 0

    def on_start(self) -> None:
        """Take an API key."""
        self.headers = {"X-API-Key": random.choice(KEYS)} if KEYS else {}

    @task(5)
    def ask_anew(self) -> None:
        """Ask what nobody asked before."""
        self.post("/chat", {"message": f"{random.choice(QUESTIONS)} Case {random.getrandbits(40)}"})

    @task(5)
    def ask_again(self) -> None:
        """Ask what was asked before: a cache may answer."""
        self.post("/chat", {"message": random.choice(QUESTIONS)}, name="/chat (asked before)")

    @task(1)
    def summarize(self) -> None:
        """Have a text summarized."""
        self.post("/summarize", {"text": f"{' '.join(QUESTIONS)} {random.getrandbits(40)}"})

    @task(1)
    def ask_and_fetch(self) -> None:
        """Let a worker answer, and fetch the answer."""
        answer = self.post("/chat-async", {"message": f"Case {random.getrandbits(40)}"})
        place = (answer.headers or {}).get("location", "")
        for _ in range(20 if place else 0):
            told = self.client.get(place, headers=self.headers, name="/chat-status/{id}")
            if b'"processing"' not in (told.content or b""):
                return
            time.sleep(0.25)  # Locust has made this a pause of one user

    def post(self, path: str, body: dict[str, str], name: str = "") -> Any:  # noqa: ANN401  # Locust's answer
        """POST JSON; being limited is an answer, too, and no failure."""
        sent = self.client.post(path, json=body, headers=self.headers, name=name or path, catch_response=True)
        with sent as answer:
            if answer.status_code == 429:
                answer.success()
        return answer


class Ramp(LoadTestShape):
    """More and more users for one minute: at how many does the latency leave the ground."""

    abstract = SHAPE not in {"ramp", "any"}
    most, seconds = 200, 60

    def tick(self) -> tuple[int, float] | None:
        """Return the number of users, and how many may come in a second; ``None`` at the end."""
        elapsed = time.perf_counter() - self.start_time
        return (max(1, int(self.most * elapsed / self.seconds)), 20.0) if elapsed < self.seconds else None


class Soak(LoadTestShape):
    """The same number of users for hours: what grows."""

    abstract = SHAPE not in {"soak", "any"}
    users, seconds = 40, 4 * 3600

    def tick(self) -> tuple[int, float] | None:
        """Return the number of users, and how many may come in a second; ``None`` at the end."""
        return (self.users, 10.0) if time.perf_counter() - self.start_time < self.seconds else None
