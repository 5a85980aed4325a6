"""Postmortem: a blameless one to fill in, with the run's own times and charts of its answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from grader import picture
from grader.chart import Chart, bars

if TYPE_CHECKING:
    from grader.incidents.case import Case

SLOTS = 12
"""Bars in the chart: the run's time in as many equal parts."""

TEMPLATE = """\
# Postmortem: {title}

*Blameless: everybody did what seemed right with what they knew then. Ask how it could happen, not who did it.*

**Summary.** {summary}

**Impact.** {impact} *Whom did it hurt, how, for how long? Which share of the error budget is gone?*

## Timeline (UTC)

{timeline}

First useful evidence: {evidence}.

{charts}

## Contributing causes

{cause}

*Plural: what let this in (review, tests, a default), what hid it (a missing alert, an average), what made it worse?*

## What went well, and where we were lucky

-

## Actions

| action | prevents, notices sooner or ends sooner | owner | by |
|---|---|---|---|
| | prevents | | |
| | notices sooner | | |
| | ends sooner | | |
"""


def write(case: Case) -> Path:
    """Write ``postmortem.md``, and its charts, into the case; one that is there already stays beside it."""
    path = case.folder / "postmortem.md"
    case.folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.replace(_free(path))
    records = list(_answers(case.folder / "logs"))
    drawn = _charts(records)
    for name, chart in drawn.items():
        picture.save(chart, path.with_name(f"postmortem-{name}.svg"))
    shown = [f"![{chart.sentence}](postmortem-{name}.svg)\n\n{chart.sentence}" for name, chart in drawn.items()]
    cause = case.incident.story.true.what if case.found else "*Not named yet.*"
    lines = [f"- {event.at:%Y-%m-%d %H:%M:%S}  {event.what} {event.detail}".rstrip() for event in case.events()]
    seconds = case.seconds_to_evidence
    path.write_text(
        TEMPLATE.format(
            title=case.incident.story.title,
            summary=f"{case.incident.story.symptom} *Two sentences: what was broken, and what ended it?*",
            impact=_impact(records),
            timeline="\n".join(lines) or "-",
            evidence="none of the run's tools showed it" if seconds is None else f"{seconds:.0f} s after the page",
            charts="\n\n".join(shown),
            cause=cause,
        ),
        encoding="utf-8",
    )
    return path


def _free(path: Path) -> Path:
    number = 1
    while (other := path.with_name(f"postmortem-{number}.md")).exists():
        number += 1
    return other


Answer = tuple[datetime, int, float]
"""When a request was answered, its status, and milliseconds."""


def _answers(logs: Path) -> Iterator[Answer]:
    """Read the access records of the replicas' logs; other lines are passed over."""
    for log in sorted(logs.glob("*.log")):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
                at = datetime.fromisoformat(record["timestamp"])
                if str(record.get("route", record["path"])) in {"/livez", "/readyz", "/health", "/metrics"}:
                    continue
                yield at, int(record["status"]), float(record["duration_ms"])
            except (ValueError, KeyError, TypeError):
                continue


def _impact(records: list[Answer]) -> str:
    if not records:
        return "No access records were kept."
    failed = sum(status >= 500 for _, status, _ in records)
    refused = sum(status in {401, 429} for _, status, _ in records)
    return f"Of {len(records)} requests in the run {failed} failed (5xx) and {refused} were refused (401, 429)."


def _charts(records: list[Answer]) -> dict[str, Chart]:
    """Draw how slow the slowest twentieth was over the run, and how many requests went well; by name."""
    if len(records) < 2:
        return {}
    times = [at.timestamp() for at, _, _ in records]
    begin, width = min(times), (max(times) - min(times)) / SLOTS or 1.0
    slots: list[list[Answer]] = [[] for _ in range(SLOTS)]
    for record in records:
        slots[min(SLOTS - 1, int((record[0].timestamp() - begin) / width))].append(record)
    labels = [f"{slot * width:.0f} s" for slot in range(SLOTS)]
    p95 = [_p95([milliseconds for _, _, milliseconds in slot]) for slot in slots]
    good, bad = (
        [float(sum((status < 400) is well for _, status, _ in slot)) for slot in slots] for well in (True, False)
    )
    spread = f"{min(filter(None, p95), default=0):.0f} to {max(p95):.0f} ms"
    return {
        "latency": bars("Latency", {"p95 (ms)": p95}, labels, f"p95 was {spread}.", unit="seconds into the run"),
        "answers": bars(
            "Answers",
            {"2xx and 3xx": good, "4xx and 5xx": bad},
            labels,
            f"{sum(bad):.0f} of {len(records)} answers were 4xx or 5xx.",
            unit="seconds into the run",
        ),
    }


def _p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))] if values else 0.0
