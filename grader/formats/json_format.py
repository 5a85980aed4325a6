"""JSON: the whole report for programs, as `grader/report.schema.json` describes it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from grader.formats import View
    from grader.report import Report


def render(report: Report, _view: View) -> str:
    """Give the report as ASCII-only JSON: safe in every encoding, and lone surrogates stay what they were."""
    return json.dumps(report.to_dict(), indent=2, allow_nan=False) + "\n"
