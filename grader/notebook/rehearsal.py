"""A pytest plugin for instructors, with nbval: `pytest --nbval-lax notebooks/` runs what learners run and looks closer.

`COURSE_EXERCISES` is `todo` (as learners get the notebooks), `solved` or `wrong`; every check cell must say accordingly
todo, passed or failed. `COURSE_SERVICE` names the service; with the finished one every graded check must pass.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from grader.notebook import solved

if TYPE_CHECKING:
    from collections.abc import Mapping

SANITIZE = Path(__file__).with_name("sanitize.cfg")
CELL_LIMIT = 180.0
_UNLIMITED = 2000.0  # nbval's default, in seconds


def pytest_configure(config: pytest.Config) -> None:
    """Set what every run of the course's notebooks needs, unless the command line says otherwise."""
    option = config.option
    option.nbval_current_env = option.nbval_current_env or not option.nbval_kernel_name
    option.nbval_sanitize_with = option.nbval_sanitize_with or str(SANITIZE)
    if option.nbval_cell_timeout == _UNLIMITED:
        option.nbval_cell_timeout = CELL_LIMIT


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Put solutions or wrong attempts into exercise cells, in memory, and name tests after their cells."""
    for item in items:
        cell: Any = getattr(item, "cell", None)
        if cell is not None:
            item.name = f"{item.name} {cell.get('id', '')}"
            item._nodeid = f"{item.nodeid} {cell.get('id', '')}"  # type: ignore[attr-defined] # noqa: SLF001 - no other way
            found = solved.sources(item.path.stem, state())
            cell["source"] = found.get(cell.get("id", ""), cell["source"])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """After a cell has run without an exception, look at what it says."""
    result = yield
    cell: Any = getattr(item, "cell", None)
    if cell is not None:
        text = said(getattr(item, "test_outputs", None) or ())
        if trouble := found_wrong(solved.tags(cell), text):
            pytest.fail(f"{trouble}\n{text[:3000]}", pytrace=False)
    return result


def state() -> str:
    """Return which exercises the cells hold."""
    return os.environ.get("COURSE_EXERCISES", "todo")


def said(outputs: Sequence[Mapping[str, Any]]) -> str:
    """Join what a cell's outputs say as plain text."""
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join(filter(None, texts))


def found_wrong(tags: Sequence[str], text: str) -> str:
    """Name what is wrong with the text of a cell with these tags; empty where all is well."""
    if "check" in tags and not text.startswith(solved.VERDICTS[state()]):
        return f"a check cell did not say {solved.VERDICTS[state()]!r}:"
    if "setup" in tags and "runs." not in text:
        return "the service did not start:"
    if "grade" in tags:
        verdicts = ("passed",) if _finished() else ("passed", "failed", "skipped")
        if not re.search(rf"^Lab \d+: ({'|'.join(verdicts)}), ", text, re.MULTILINE):
            return f"a graded cell said neither of {', '.join(verdicts)}:"
    return ""


def _finished() -> bool:
    return Path(os.environ.get("COURSE_SERVICE", "")).resolve().parent.name == "solutions"
