"""Notebook 08: the exercise cells solved, and for each a wrong attempt that its check has to refuse."""


# CELL exercise-08-layers
def runs_again(steps: list[set[str]], changed: set[str]) -> list[bool]:
    return [any(reads & changed for reads in steps[: i + 1]) for i in range(len(steps))]


# WRONG exercise-08-layers
def runs_again(steps: list[set[str]], changed: set[str]) -> list[bool]:
    return [bool(reads & changed) for reads in steps]


# CELL exercise-08-grace
def times_to_end(probe: float, misses: int, answer: float) -> tuple[float, float]:
    return probe * misses, probe * misses + answer


# WRONG exercise-08-grace
def times_to_end(probe: float, misses: int, answer: float) -> tuple[float, float]:
    return probe * misses, max(probe * misses, answer)


# CELL exercise-08-gate
def may_deploy(event: str, ref: str, results: dict[str, str]) -> bool:
    passed = all(results.get(job) == "success" for job in ("lint", "test", "build"))
    return event == "push" and ref == "refs/heads/main" and passed


# WRONG exercise-08-gate
def may_deploy(event: str, ref: str, results: dict[str, str]) -> bool:
    return event == "push" and ref.endswith("main") and "failure" not in results.values()


# CELL exercise-08-backup
import os, sqlite3


def back_up(live: str, copy: str) -> None:
    source, target = sqlite3.connect(live), sqlite3.connect(f"{copy}.part")
    try:
        source.backup(target)
        target.close()
        os.replace(f"{copy}.part", copy)
    finally:
        source.close()
        target.close()


# WRONG exercise-08-backup
import os, shutil


def back_up(live: str, copy: str) -> None:
    shutil.copy(live, f"{copy}.part")
    os.replace(f"{copy}.part", copy)
