"""Faults of lab 1, each planted in the finished service."""

from __future__ import annotations

from grader.checks.lab_01_architecture import (
    check_documentation_is_served,
    check_ends_though_a_request_hangs,
    check_finishes_what_it_began,
    check_health_says_healthy,
    check_root_greets,
    check_stops_when_asked,
)
from tests.mutants import Mutant

DRAIN = "app/drain.py"
HEALTH_ROUTE = '@app.get("/health")\n'
MAIN = "app/main.py"

MUTANTS = [
    Mutant(
        "greets under another name",
        MAIN,
        '{"message": "Ask',
        '{"greeting": "Ask',
        {check_root_greets},
    ),
    Mutant(
        "greets with plain text",
        MAIN,
        'return {"message": "Ask me something: POST /chat"}',
        'return "Ask me"  # type: ignore',
        {check_root_greets},
    ),
    Mutant("tells its health elsewhere", MAIN, HEALTH_ROUTE, '@app.get("/healthz")\n', {check_health_says_healthy}),
    Mutant("tells its health to POST only", MAIN, HEALTH_ROUTE, '@app.post("/health")\n', {check_health_says_healthy}),
    Mutant(
        "hides its documentation",
        MAIN,
        'version="1.0.0",',
        'version="1.0.0", docs_url=None,',
        {check_documentation_is_served},
    ),
    Mutant(
        "has no description for machines",
        MAIN,
        'version="1.0.0",',
        'version="1.0.0", openapi_url="/schema.json",',
        {check_documentation_is_served},
    ),
    Mutant(
        "waits for requests that hang, long after SIGTERM",
        DRAIN,
        "REQUESTS_END_AFTER_S = 6.0",
        "REQUESTS_END_AFTER_S = 600.0",
        {check_ends_though_a_request_hangs},
    ),
    Mutant(
        "cuts requests at SIGTERM",
        DRAIN,
        "REQUESTS_END_AFTER_S = 6.0",
        "REQUESTS_END_AFTER_S = 0.0",
        {check_finishes_what_it_began},
    ),
    Mutant(
        "ignores SIGTERM",
        DRAIN,
        "            servers_own(number, frame)\n",
        "            pass\n",
        {check_stops_when_asked},
    ),
    Mutant(
        "ends as if it had crashed",
        DRAIN,
        "            servers_own(number, frame)\n",
        "            raise SystemExit(3)\n",
        {check_stops_when_asked},
    ),
]
