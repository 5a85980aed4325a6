"""Where a learner stands: the ladder from prototype to production, and the points of every lab.

The twelve requirements are the module's own "must have" and "should have" lists (section 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from grader.figures.controls import Slider
from grader.figures.theme import Figure, Params, Table, View


@dataclass(frozen=True)
class Rung:
    """One lab: what it is called, what still goes wrong before it is done."""

    lab: int
    name: str
    trouble: str


RUNGS = (
    Rung(1, "Architecture", "a restart cuts every answer in flight"),
    Rung(2, "API with FastAPI", "one slow model call stops everybody"),
    Rung(3, "Authentication", "a stranger spends your money"),
    Rung(4, "Rate limiting", "one loop takes the whole budget"),
    Rung(5, "Caching", "you pay twice for the same answer"),
    Rung(6, "Logging and monitoring", "users notice before you do"),
    Rung(7, "Error handling", "the provider's bad day is yours as well"),
    Rung(8, "Deployment", "it works on your machine, and a lost disk is lost"),
    Rung(9, "Scaling", "a second copy breaks what the first one knew"),
    Rung(10, "Incidents", "at three in the morning you guess"),
)
MUST = {
    "REST API": 2,
    "Documentation": 2,
    "Authentication": 3,
    "Rate limits": 4,
    "Logging": 6,
    "Monitoring": 6,
    "Error handling": 7,
}
SHOULD = {"Caching": 5, "Auto-scaling": 8, "Backup": 8, "Queueing": 9, "Load balancing": 9}


def met(requirements: Mapping[str, int], done: int) -> list[str]:
    """Return the requirements that a service meets after labs 1 to `done`."""
    return [name for name, lab in requirements.items() if lab <= done]


def _ladder(p: Params) -> View:
    done = p["done"]
    rungs = [
        asdict(rung)
        | {
            "done": rung.lab <= done,
            "must": [n for n, lab in MUST.items() if lab == rung.lab],
            "should": [n for n, lab in SHOULD.items() if lab == rung.lab],
        }
        for rung in RUNGS
    ]
    must, should = len(met(MUST, done)), len(met(SHOULD, done))
    score = f"**{must} of {len(MUST)}** must-haves and **{should} of {len(SHOULD)}** should-haves"
    begin = "The prototype meets" if not done else f"After lab {done} the service meets"
    then = (
        "Nothing on this page can surprise it now."
        if done == len(RUNGS)
        else f"Until lab {done + 1} is done, {RUNGS[done].trouble}."
    )
    rows = [
        (name, kind, lab, "yes" if lab <= done else "not yet")
        for kind, group in (("must", MUST), ("should", SHOULD))
        for name, lab in group.items()
    ]
    return View(
        {"rungs": rungs, "done": done},
        f"{begin} {score}. {then}",
        Table("What production asks for", ["requirement", "kind", "from lab", "met"], rows),
    )


def ladder(**start: object) -> Figure:
    """Show the ten labs as rungs, and which of production's requirements each one adds."""
    title, question = (
        "From prototype to production",
        "What does each lab add, and what can still go wrong until it is done?",
    )
    return Figure("ladder", title, question, (Slider("done", "Labs finished", 0, 10, 0),), _ladder, start)


def overview(rows: Sequence[Mapping[str, Any]]) -> View:
    """Draw points per lab. Each row: number, title, points, max_points (0 points where the lab was never graded)."""
    labs = [{"number": r["number"], "title": r["title"], "points": r["points"], "most": r["max_points"]} for r in rows]
    points, most = sum(lab["points"] for lab in labs), sum(lab["most"] for lab in labs)
    ahead = next((lab for lab in labs if lab["points"] < lab["most"]), None)
    then = f"Next: lab {ahead['number']}, {ahead['title']}." if ahead else "Every check passes."
    table = Table(
        "Points per lab",
        ["lab", "title", "points", "of"],
        [(lab["number"], lab["title"], lab["points"], lab["most"]) for lab in labs],
    )
    scene = {"labs": labs, "points": points, "most": most, "next": ahead and ahead["number"]}
    return View(scene, f"**{points} of {most} points**. {then}", table)


class Progress(Figure):
    """The points of every lab, and which one is next: `Progress(rows)`, later `progress.update(rows)`."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        kept = list(rows)
        super().__init__(
            "progress", "Your progress", "Best result of every lab so far.", (), lambda _: overview(kept), {}
        )

    def update(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Redraw with new rows, wherever the widget is shown."""
        self.view = asdict(overview(list(rows)))
