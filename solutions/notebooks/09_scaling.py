"""Notebook 09: the exercise cells solved, and for each a wrong attempt that its check has to refuse."""


# CELL exercise-09-replicas
import math


def replicas(rate: float, seconds: float, slots: int, target: float) -> int:
    return max(1, math.ceil(rate * seconds / (slots * target) - 1e-9))


# WRONG exercise-09-replicas
import math


def replicas(rate: float, seconds: float, slots: int, target: float) -> int:
    return max(1, math.ceil(rate * seconds / slots))


# CELL exercise-09-accept
def accept(known: dict, caller: str, key: str | None, body: str, new_id: str):
    if key is None:
        return 202, new_id
    first_body, first_id = known.setdefault((caller, key), (body, new_id))
    return (202, first_id) if first_body == body else (422, None)


# WRONG exercise-09-accept
def accept(known: dict, caller: str, key: str | None, body: str, new_id: str):
    first_body, first_id = known.setdefault(key, (body, new_id))
    return (202, first_id) if first_body == body else (422, None)


# CELL exercise-09-pool
def fits(most: int, reserved: int, instances: int, workers: int, surge: int) -> int:
    return (most - reserved) // ((instances + surge) * workers)


# WRONG exercise-09-pool
def fits(most: int, reserved: int, instances: int, workers: int, surge: int) -> int:
    return (most - reserved) // (instances * workers)
