"""Reports as runs give them, made by hand: every outcome, every part filled."""

# ruff: noqa: E501 - reports are tables

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from grader.chart import Chart, Mark, bars, histogram
from grader.report import CheckResult, ExchangeRecord, LabResult, Outcome, Report, StartProblem

SECTION = "notebooks/04_rate_limiting.ipynb"

REFUSED = ExchangeRecord(
    curl="curl -i -X POST http://127.0.0.1:8000/chat -H 'X-API-Key: lab-user-key' "
    """-H 'Content-Type: application/json' -d '{"message": "What is a token bucket?", "temperature": 0.7}'""",
    request="POST /chat",
    status=200,
    response_headers={"content-type": "application/json", "x-request-id": "0d2f6c1e"},
    response='{"response":"A bucket from which every request takes a token.","tokens_used":31,"model":"lab-large"}',
    seconds=0.0123,
)

LOG = (
    '{"event":"request","path":"/chat","status":200,"request_id":"0d2f6c1e"}',
    '{"event":"provider call","model":"lab-large","request_id":"0d2f6c1e"}',
)

RUNS_OUT = CheckResult(
    lab=4,
    name="allowance_runs_out",
    promise="A caller's eleventh request is refused with 429, and never reaches the provider.",
    outcome=Outcome.FAILED,
    points=0,
    max_points=3,
    message="POST /chat answered 200, expected 429.",
    exchanges=(replace(REFUSED, response=""), replace(REFUSED, response=""), REFUSED),
    log=LOG,
    hints=("Take a token before the model is called.", "Which store do all replicas share?", "One Lua script does it."),
    seconds=0.41,
    section=SECTION,
    facts=("11 requests in 0.4 s",),
)


def check(name: str, outcome: Outcome, points: int = 2, lab: int = 4, **more: object) -> CheckResult:
    """Make a short result; it earns its points when it passed."""
    result = CheckResult(
        lab, name, f"Promise of {name}.", outcome, points if outcome is Outcome.PASSED else 0, points, section=SECTION
    )
    return replace(result, **more)  # type: ignore[arg-type]


def rich() -> Report:
    """Every outcome and every part of a report."""
    apis = LabResult(
        2,
        "apis",
        "Building APIs with FastAPI",
        (
            check("chat_answers", Outcome.PASSED, lab=2, promise="POST /chat answers with what the model said."),
            check("schema_is_closed", Outcome.PASSED, 1, 2, promise="Unknown fields are refused with 422."),
        ),
        2.25,
    )
    limits = LabResult(
        4,
        "rate_limiting",
        "Rate limiting",
        (
            check(
                "callers_do_not_share", Outcome.PASSED, 0, promise="One caller's use does not count against another's."
            ),
            RUNS_OUT,
            check(
                "remaining_is_told",
                Outcome.FAILED,
                message="GET /me answered 200, expected the header X-RateLimit-Remaining.",
            ),
            check(
                "bucket_refills", Outcome.SKIPPED, message="Comes after “allowance runs out”, which has not passed yet."
            ),
            check(
                "store_loss_is_survived",
                Outcome.ERROR,
                message="The grader itself erred: KeyError: 'redis' at stack.py:41",
            ),
        ),
        3.5,
    )
    scaling = LabResult(
        9,
        "scaling",
        "Scaling",
        (
            check("work_is_done_once", Outcome.PASSED, 4, 9, promise="A task that was accepted is done once, whatever dies."),
            check("p95_within_target", Outcome.INCONCLUSIVE, 3, 9, message="The machine was too busy to measure 200 ms.", promise="95 of 100 answers come within 200 ms."),
            check("thousand_connections", Outcome.SKIPPED, 3, 9, message="Load checks were switched off with --no-load.", waived=True),
        ),
        4.0,
    )  # fmt: skip
    return Report(
        labs=(apis, limits, scaling),
        seed=20417,
        seconds=9.31,
        bill={"calls": 412, "prompt_tokens": 20811, "completion_tokens": 9120, "price_usd": 0.01234, "without_cache_usd": 0.0345},
        notes=("The optional second opinions of hadolint and zizmor were not run: not installed.",),
        phases={"set-up": 0.6, "start": 1.15, "checks": 7.2, "tear-down": 0.36},
        guards={"process limits": "on", "network": "off: this kernel allows no network namespaces"},
        charts=charts(),
        submission="labs/service",
        command="grade 2 4 9 --seed 20417",
        started_at=datetime(2026, 11, 22, 14, 5, 9, tzinfo=UTC),
    )  # fmt: skip


def charts() -> tuple[Chart, ...]:
    """One chart of each kind."""
    yours = [60 + (index * 37 % 97) * 0.9 + (80 if index % 19 == 0 else 0) for index in range(200)]
    ours = [40 + (index * 29 % 83) * 0.5 for index in range(200)]
    latency = histogram(
        "Latency beyond the provider",
        {"your service": yours, "reference": ours},
        "95 of 100 answers of your service came within 143 ms, of the reference within 80 ms; the target is 200 ms.",
        unit="ms",
        marks=[Mark(200, "target 200 ms")],
    )
    hits = bars(
        "Calls to the provider",
        {"without a cache": [100, 100, 60], "your service": [20, 35, 60]},
        ["same question", "similar question", "new question"],
        "The cache saved 80 of 100 calls for repeated questions and 65 of 100 for similar ones.",
        unit="calls",
    )
    return latency, hits


def passed() -> Report:
    """A run in which everything passed."""
    report = rich()
    return replace(report, labs=report.labs[:1], notes=(), charts=(), command="grade 2 --seed 20417")


def not_started() -> Report:
    """A service that did not start."""
    problem = StartProblem(
        cause="The module langchian_openai is imported and not there.",
        detail="ModuleNotFoundError: No module named 'langchian_openai'",
        file="app/model.py",
        line=7,
        log=(
            "Traceback (most recent call last):",
            '  File "app/model.py", line 7, in <module>',
            "    from langchian_openai import ChatOpenAI",
            "ModuleNotFoundError: No module named 'langchian_openai'",
        ),
        remedy="Correct the import, or install the package.",
    )
    return replace(rich(), labs=(), problem=problem, charts=(), notes=(), bill=None, command="grade 4 --seed 20417")


HOSTILE = (
    "<script>alert(1)</script> & \"quotes\" 'more' ]]> --> </pre></details> {{x}}\n"
    "```\n# heading\n| a | b |\n[link](javascript:alert(1)) @everyone #1 ~~x~~ ::error::x\n"
    "\x1b[2J\x1b]0;title\x07\x9b31m\x00\x08\r\u202ereversed\u2066\ud800\ufffe\x7f\u2028[bold red]markup[/] :smile: %s {0}\n"
)
"""What a service might say to deface a report."""


def hostile() -> Report:
    """A report with hostile text in every place that a service can reach."""
    exchange = ExchangeRecord(HOSTILE, HOSTILE, None, {HOSTILE: HOSTILE}, HOSTILE * 3, 0.1, HOSTILE)
    result = replace(
        RUNS_OUT, message=HOSTILE, exchanges=(exchange, exchange), log=(HOSTILE, HOSTILE), facts=(HOSTILE,)
    )
    unsure = check("unsure", Outcome.INCONCLUSIVE, message=HOSTILE)
    problem = StartProblem(HOSTILE, HOSTILE, HOSTILE, 3, (HOSTILE,), HOSTILE)
    lab = LabResult(4, "rate_limiting", "Rate limiting", (result, unsure))
    return replace(
        rich(), labs=(lab,), notes=(HOSTILE,), problem=problem, guards={HOSTILE: HOSTILE}, submission=HOSTILE
    )
