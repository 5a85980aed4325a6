"""Postmortem: a blameless one to fill in, with the run's own times and a chart of its latencies."""

from __future__ import annotations

import json
from collections import defaultdict
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

{chart}

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
    """Write ``postmortem.md``, and its chart, into the case; one that is there already stays beside it."""
    path = case.folder / "postmortem.md"
    case.folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.replace(_free(path))
    records = list(_answers(case.folder / "logs"))
    drawn = _chart(records)
    if drawn:
        picture.save(drawn, path.with_suffix(".svg"))
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
            chart=f"![{drawn.sentence}]({path.with_suffix('.svg').name})\n\n{drawn.sentence}" if drawn else "",
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


def _chart(records: list[Answer]) -> Chart | None:
    """Draw the slowest twentieth's latency over the run, and how many requests failed."""
    if len(records) < 2:
        return None
    times = [at.timestamp() for at, _, _ in records]
    begin, width = min(times), (max(times) - min(times)) / SLOTS or 1.0
    slots: dict[int, list[Answer]] = defaultdict(list)
    for record in records:
        slots[min(SLOTS - 1, int((record[0].timestamp() - begin) / width))].append(record)
    p95 = [_p95([each[2] for each in slots[slot]]) for slot in range(SLOTS)]
    failed = [float(sum(each[1] >= 400 for each in slots[slot])) for slot in range(SLOTS)]
    labels = [f"{slot * width:.0f} s" for slot in range(SLOTS)]
    spread = f"{min(filter(None, p95), default=0):.0f} to {max(p95):.0f} ms"
    sentence = f"p95 was {spread}; {sum(failed):.0f} answers were 4xx or 5xx."
    return bars("The run", {"p95 (ms)": p95, "4xx and 5xx": failed}, labels, sentence, unit="seconds into the run")


def _p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))] if values else 0.0
