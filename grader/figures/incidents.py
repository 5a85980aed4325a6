"""Section 10: how fast an incident burns the error budget, and when which alert notices.

Times are minutes. The budget of a 30 day window is (1 minus SLO) of its requests, all minutes alike. Burn-rate alerts
ask for a high rate over a long and a short window at once (The Site Reliability Workbook, chapter 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from grader.figures.controls import Choice, Slider, stops
from grader.figures.theme import Figure, Params, Table, View

WINDOW_MIN = 30 * 24 * 60
SHOWN, START = 8 * 60, 60
BACKGROUND = 0.00002
"""Share of requests that fails on a quiet day."""


@dataclass(frozen=True)
class Alert:
    """Fires when the burn rate is at least `rate` over the long and over the short window, minutes."""

    name: str
    rate: float
    long: int
    short: int


ALERTS = {
    "fast": Alert("14.4 over 1 h and 5 min", 14.4, 60, 5),
    "slow": Alert("6 over 6 h and 30 min", 6, 360, 30),
    "ticket": Alert("1 over 3 days and 6 h", 1, 4320, 360),
}


def burn(errors: Sequence[float], slo: float, window: int) -> list[float]:
    """Return the burn rate per minute: mean error share of the last `window` minutes over what the SLO allows.

    Before the first minute everything is taken to be as quiet as the background.
    """
    sums = [0.0, *accumulate(errors)]
    rates = []
    for now in range(1, len(sums)):
        inside = min(window, now)
        mean = (sums[now] - sums[now - inside] + BACKGROUND * (window - inside)) / window
        rates.append(mean / (1 - slo))
    return rates


def fires(errors: Sequence[float], slo: float, alert: Alert) -> int | None:
    """Return the first minute whose end finds both windows at or above the alert's rate."""
    pairs = zip(burn(errors, slo, alert.long), burn(errors, slo, alert.short), strict=True)
    return next((minute + 1 for minute, rates in enumerate(pairs) if min(rates) >= alert.rate - 1e-9), None)


def course_of(slo: float, share: float, alert: Alert, repair: int) -> tuple[list[float], int | None, int]:
    """Return error shares per minute, when the page comes, and when it is mended (the end of the picture if never)."""
    endless = [BACKGROUND if minute < START else share for minute in range(SHOWN)]
    paged = fires(endless, slo, alert)
    mended = min(SHOWN, paged + repair) if paged is not None else SHOWN
    return [share if START <= minute < mended else BACKGROUND for minute in range(SHOWN)], paged, mended


def budget_left(errors: Sequence[float], slo: float) -> list[float]:
    """Return the share of the window's budget that is left after each minute, starting full."""
    whole = (1 - slo) * WINDOW_MIN
    return [1 - used / whole for used in accumulate(errors)]


def _minutes(minutes: float) -> str:
    return (
        f"{minutes:.0f} min"
        if minutes < 120
        else f"{minutes / 60:.1f} h"
        if minutes < 2880
        else f"{minutes / 1440:.1f} days"
    )


def _incident(p: Params) -> View:
    slo, share, alert, repair = p["slo"], p["share"], ALERTS[p["alert"]], p["repair"]
    errors, paged, mended = course_of(slo, share, alert, repair)
    left = budget_left(errors, slo)
    rate = share / (1 - slo)
    say = (
        f"{share * 100:g}% of the requests fail: at an SLO of {slo * 100:g}% that burns the budget **{rate:,.0f} "
        f"times** too fast; a month's budget would last {_minutes(WINDOW_MIN / rate)}. "
    )
    if paged is None:
        say += f"This alert has **not fired** after {_minutes(SHOWN - START)}."
    else:
        cut = " (the picture ends there)" if mended == SHOWN else ""
        say += f"The page comes after **{paged - START} min**, it is mended after {mended - START} min{cut}."
    say += (
        f" **{1 - left[-1]:.0%} of the month's budget** is gone."
        if left[-1] > 0
        else " **The whole budget of the month is gone.**"
    )
    scene = {
        "long": [round(v, 3) for v in burn(errors, slo, alert.long)],
        "short": [round(v, 3) for v in burn(errors, slo, alert.short)],
        "left": [round(v, 4) for v in left],
        "rate": alert.rate,
        "start": START,
        "paged": paged,
        "mended": mended,
        "end": SHOWN,
        "names": [_minutes(alert.long), _minutes(alert.short)],
    }
    rows = []
    for kind in ALERTS.values():
        other, page, end = course_of(slo, share, kind, repair)
        rows.append(
            (
                kind.name,
                "never" if page is None else page - START,
                end - START if page is not None else "not",
                f"{max(0.0, budget_left(other, slo)[-1]):.0%}",
            )
        )
    return View(
        scene,
        say,
        Table(
            "The same incident under each alert",
            ["burn rate alert", "paged after, min", "mended after, min", "budget left"],
            rows,
        ),
    )


def error_budget(**start: object) -> Figure:
    """Show an incident, the alert that notices it, and what it takes of the month's error budget."""
    controls = (
        stops("slo", "Objective (SLO)", 0.999, (0.99, 0.995, 0.999, 0.9995, 0.9999), "%"),
        stops("share", "Requests that fail", 0.1, (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0), "%"),
        Slider("repair", "From page to mended", 5, 240, 40, 5, "min"),
        Choice("alert", "The alert: burn rate", tuple((key, alert.name) for key, alert in ALERTS.items()), "fast"),
    )
    title, question = (
        "An incident on the budget",
        "Something broke an hour in. When does the alert know, and how much of the month is gone when it is mended?",
    )
    return Figure("budget", title, question, controls, _incident, start)
