"""Traffic: what a drill's visitors are and do; Locust plays them in a process of its own (``visitors.py``)."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grader.incidents.production import Production
    from grader.supervisor import Supervisor

FREQUENT = (
    "How do I reset my password?",
    "Which plans do you offer?",
    "Where is my invoice?",
    "May I talk to a person?",
)
HABITS = {"visitors": 8, "ask_anew": 4, "ask_again": 4, "hand_in": 1, "flock": 0, "wander": 0, "work": 4}
"""How often a visitor does what, in relation to the rest; ``work`` is how often an employee uses one login, and
``visitors`` how many there are, with eight keys."""


def begin(
    production: Production, helper: Supervisor, folder: Path, *, minutes: float, habits: Mapping[str, int]
) -> None:
    """Send traffic through the balancer for some minutes, or until the helper ends."""
    home = folder / "visitors"
    home.mkdir()
    people = [production.first.new_user() for _ in range(2)]
    habits = HABITS | dict(habits)
    given = {
        "keys": [visitor.headers["X-API-Key"] for visitor in production.visitors],
        "users": [(person.username, person.password) for person in people],
        "frequent": FREQUENT,
        "habits": habits,
    }
    file = Path(__file__).with_name("visitors.py")
    command = [sys.executable, "-P", "-s", "-m", "locust", "--locustfile", str(file), "--headless", "--only-summary"]
    command += ["--host", production.balancer.url, "--users", str(habits["visitors"]), "--spawn-rate", "4"]
    command += ["--run-time", f"{max(1, round(60 * minutes))}s", "--loglevel", "WARNING"]
    helper.spawn(
        command,
        env={"VISIT": json.dumps(given), "HOME": str(home), "LANG": "C.UTF-8"},
        cwd=home,
        log=folder / "visitors.log",
    )
