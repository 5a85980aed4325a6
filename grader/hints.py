"""Hints: a ladder for each check, gone down one step at a time and remembered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grader.history import History
    from grader.report import CheckResult, Report


def next_hint(report: Report, history: History, service: Path) -> str:
    """Show one more hint for the first failing check; give a sentence where there is none to show."""
    check = report.first_blocking
    if check is None:
        return "" if report.problem else "No check failed, so there is nothing to hint at."
    shown = history.hints(service).get((check.lab, check.name), 0)
    if shown >= len(check.hints):
        return _no_more(check)
    history.show_hint(service, check.lab, check.name, len(check.hints))
    return ""


def _no_more(check: CheckResult) -> str:
    where = f"; read {check.section}" if check.section else ""
    if not check.hints:
        return f"There are no hints for “{check.promise}”{where}."
    return f"All hints for “{check.promise}” have been shown{where}, or look into solutions/service."
