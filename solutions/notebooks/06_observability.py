"""Notebook 06: the exercise cells solved, and for each a wrong attempt that its check has to refuse."""


# CELL exercise-06-line
import json
from datetime import UTC, datetime


def log_line(event: str, error: Exception | None = None, **fields) -> str:
    level = "error" if error else "info"
    record = {"timestamp": datetime.now(UTC).isoformat(), "level": level, "event": event, **fields}
    if error:
        record["error"] = type(error).__name__
    return json.dumps(record)


# WRONG exercise-06-line
import json
from datetime import UTC, datetime


def log_line(event: str, error: Exception | None = None, **fields) -> str:
    level = "error" if error else "info"
    event = f"{event}: {error}" if error else event
    return json.dumps({"timestamp": datetime.utcnow().isoformat(), "level": level, "event": event, **fields})


# CELL exercise-06-id
import re
import uuid


def accepted_or_new(given: str | None) -> str:
    return given if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given or "") else uuid.uuid4().hex


# WRONG exercise-06-id
import re
import uuid


def accepted_or_new(given: str | None) -> str:
    return given if re.match(r"^[A-Za-z0-9._-]{1,64}$", given or "") else uuid.uuid4().hex


# CELL exercise-06-quantile
def quantile(q: float, bounds: list[float], counts: list[int]) -> float:
    rank = q * counts[-1]
    i = next(i for i, count in enumerate(counts) if count >= rank)
    if i == len(bounds):
        return bounds[-1]
    low, below = (bounds[i - 1], counts[i - 1]) if i else (0, 0)
    return low + (bounds[i] - low) * (rank - below) / (counts[i] - below)


# WRONG exercise-06-quantile
def quantile(q: float, bounds: list[float], counts: list[int]) -> float:
    rank = q * counts[-1]
    i = next(i for i, count in enumerate(counts) if count >= rank)
    return bounds[min(i, len(bounds) - 1)]
