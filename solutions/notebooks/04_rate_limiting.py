"""Notebook 04: the exercise cells solved, and for each a wrong attempt that its check has to refuse."""


# CELL exercise-04-window
def allow(passed: list[float], now: float, limit: int, window: float) -> bool:
    return sum(at > now - window for at in passed) < limit


# WRONG exercise-04-window
def allow(passed: list[float], now: float, limit: int, window: float) -> bool:
    return sum(at // window == now // window for at in passed) < limit


# CELL exercise-04-bucket
def take(level, last, now, cost, capacity, refill):
    held = min(capacity, level + (now - last) * refill)
    return held >= cost, held - cost if held >= cost else held


# WRONG exercise-04-bucket
def take(level, last, now, cost, capacity, refill):
    held = level + (now - last) * refill
    return held >= cost, held - cost if held >= cost else held


# CELL exercise-04-retry-after
import math


def retry_after(level: float, cost: float, refill: float) -> int:
    return max(1, math.ceil((cost - level) / refill))


# WRONG exercise-04-retry-after
import math


def retry_after(level: float, cost: float, refill: float) -> int:
    return int((cost - level) / refill)
