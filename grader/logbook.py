"""Reading a service's output as structured logs: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from grader.expectation import Broken
from grader.service import Service

Record = Mapping[str, Any]

LEVELS = frozenset({"trace", "debug", "info", "notice", "warning", "warn", "error", "critical", "fatal", "exception"})


class Logbook:
    """What a service has written since the logbook was opened."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.start = len(service.lines())

    def lines(self) -> list[str]:
        """The lines since then; empty ones are left out."""
        return [line for line in self.service.lines()[self.start :] if line.strip()]

    def records(self) -> list[Record]:
        """The lines as objects. Raises ``Broken`` for a line that is none."""
        return [parse(line) for line in self.lines()]

    def access(self, request_id: str, within: float = 5.0) -> list[Record]:
        """The access records of a request; waits for the first, since it is written after the answer."""
        self.service.wait_for_line(lambda line: request_id in line and is_access(_try_parse(line)), within)
        found = (_try_parse(line) for line in self.lines() if request_id in line)
        return [each for each in found if each.get("request_id") == request_id and is_access(each)]


def parse(line: str) -> Record:
    """Read a line. Raises ``Broken`` that shows the line."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise Broken(f"A line of the output is not JSON: {line[:200]!r}") from None
    if not isinstance(found, dict):
        raise Broken(f"A line of the output is JSON but no object: {line[:200]!r}")
    return found


def _try_parse(line: str) -> Record:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def is_access(record: Record) -> bool:
    """Whether a record tells of an answered request: method, path or route, status, duration_ms."""
    return {"method", "status", "duration_ms"} <= set(record) and ("path" in record or "route" in record)


def verify(record: Record, line: str = "") -> None:
    """Break the promise unless a record has a time with a zone, a level, and a message or event."""
    shown = line or json.dumps(record)[:200]
    stamp = record.get("timestamp")
    if not (isinstance(stamp, str) and stamp.endswith(("Z", "+00:00")) and _is_time(stamp)):
        raise Broken(f"A record needs a timestamp in ISO 8601 ending in Z or +00:00: {shown}")
    if str(record.get("level", "")).lower() not in LEVELS:
        raise Broken(f"A record needs a level: {shown}")
    if not ("message" in record or "event" in record):
        raise Broken(f"A record needs a message or an event: {shown}")


def _is_time(stamp: str) -> bool:
    try:
        datetime.fromisoformat(stamp)
    except ValueError:
        return False
    return True
