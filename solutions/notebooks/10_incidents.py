"""Notebook 10: the exercise cells solved, and for each a wrong attempt that its check has to refuse."""


# CELL exercise-10-quantile
def quantile(q: float, buckets: list[tuple[float, int]]) -> float:
    rank, begin, below = q * buckets[-1][1], 0.0, 0
    for bound, count in buckets:
        if count >= rank:
            return begin if bound == float("inf") else begin + (bound - begin) * (rank - below) / (count - below)
        begin, below = bound, count


# WRONG exercise-10-quantile
def quantile(q: float, buckets: list[tuple[float, int]]) -> float:
    return next(bound for bound, count in buckets if count >= q * buckets[-1][1])


# CELL exercise-10-gap
import json
from datetime import datetime
from itertools import pairwise


def longest_gap(lines: list[str], request_id: str) -> tuple[str, str]:
    found = []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("request_id") == request_id:
            found.append((datetime.fromisoformat(record["timestamp"]), record["event"]))
    before, after = max(pairwise(sorted(found)), key=lambda pair: pair[1][0] - pair[0][0])
    return before[1], after[1]


# WRONG exercise-10-gap
import json
from datetime import datetime
from itertools import pairwise


def longest_gap(lines: list[str], request_id: str) -> tuple[str, str]:
    found = [json.loads(line) for line in lines if request_id in line]
    times = [(datetime.fromisoformat(record["timestamp"]), record["event"]) for record in found]
    before, after = max(pairwise(times), key=lambda pair: pair[1][0] - pair[0][0])
    return before[1], after[1]


# CELL exercise-10-budget
import math


def hours_left(slo: float, days: int, used: float, failing: float) -> float:
    left = max(0.0, 1 - used) * (1 - slo) * days * 24
    if left == 0:
        return 0.0
    return left / failing if failing else math.inf


# WRONG exercise-10-budget
import math


def hours_left(slo: float, days: int, used: float, failing: float) -> float:
    return (1 - slo) * days * 24 / failing if failing else math.inf


# CELL exercise-10-diagnose
def diagnose(e: dict[str, float]) -> str:
    if e["livez_ms"] > 100:
        return "blocked loop"
    if e["calls_per_request"] > 1.2:
        return "retry storm"
    if e["equal_calls"] > 3:
        return "stampede"
    return "pool exhausted" if e["pool_waiting"] else "healthy"


# WRONG exercise-10-diagnose
def diagnose(e: dict[str, float]) -> str:
    if e["pool_waiting"]:
        return "pool exhausted"
    if e["calls_per_request"] > 1.2:
        return "retry storm"
    if e["equal_calls"] > 3:
        return "stampede"
    return "blocked loop" if e["p95_ms"] > 5000 else "healthy"
