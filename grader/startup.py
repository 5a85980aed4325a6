"""Why a service did not start: one cause, one place in the learner's code, one thing to do."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path

from grader.report import StartProblem

TAIL = 12
"""Lines of the service's output that an explanation shows."""

_FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+)')
_ERROR = re.compile(r"^(?P<name>[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Warning)): ?(?P<text>.*)$")


def explain(log: list[str], code: int | None, root: Path, app: str) -> StartProblem:
    """Explain from the service's output and exit code (negative: signal) why it ended before it answered."""
    error = next((match for line in reversed(log) if (match := _ERROR.match(line))), None)
    file, line = _place(log, root)
    tail = tuple(text.replace(f"{root}/", "") for text in log[-TAIL:])
    cause, remedy = _cause(error, code, app, "\n".join(log))
    return StartProblem(cause=cause, detail=_detail(error), file=file, line=line, log=tail, remedy=remedy)


def explain_hang(log: list[str], pid: int, root: Path, seconds: float) -> StartProblem:
    """Explain a service that runs and does not answer; ask its interpreter, where it can be asked, what it is doing."""
    file, line = _stuck_at(pid, root)
    return StartProblem(
        cause=f"The service was started and answered nothing for {seconds:.0f} s.",
        detail="It is still running: something at import or start-up waits." if file else "",
        file=file,
        line=line,
        log=tuple(text.replace(f"{root}/", "") for text in log[-TAIL:]),
        remedy="Nothing may block while the module is imported or the application starts: no network call without a "
        "time limit, no endless loop, no input().",
    )


def _detail(error: re.Match[str] | None) -> str:
    return f"{error['name']}: {error['text']}" if error else ""


def _place(log: list[str], root: Path) -> tuple[str | None, int | None]:
    """The last frame of the last traceback that lies in the learner's folder."""
    for text in reversed(log):
        match = _FRAME.match(text)
        if match and (path := Path(match["file"])).is_relative_to(root):
            return str(path.relative_to(root)), int(match["line"])
    return None, None


def _cause(error: re.Match[str] | None, code: int | None, app: str, log: str) -> tuple[str, str]:  # noqa: PLR0911
    name = error["name"].rpartition(".")[2] if error else ""
    text = error["text"] if error else ""
    if name == "ModuleNotFoundError":
        missing = re.search(r"No module named '([^']+)'", text)
        what = missing[1] if missing else "a module"
        if app.partition(":")[0].startswith(what):
            return (
                f"There is no module {what} in the folder.",
                f"The grader starts `uvicorn {app}` in the service root.",
            )
        return f"The module {what} is imported and not there.", "Correct the import, or install the package."
    if name in {"SyntaxError", "IndentationError", "TabError"}:
        return "Python cannot read the code.", "Mend the line that is named."
    if "Error loading ASGI app" in log:
        return "uvicorn found no application.", f"The grader starts `uvicorn {app}` in the service root."
    if "ddress already in use" in log:
        return "The service opens a port of its own.", "Leave listening to uvicorn; remove calls of uvicorn.run()."
    if name in {"ValidationError", "SettingsError"} or "settings" in text.lower():
        return "A setting was refused.", "The settings of the contract must all be accepted, unknown ones ignored."
    if code is not None and code < 0:
        return f"The service was ended by {_signal(-code)}.", "Look for exits, crashes, or memory beyond the limit."
    if name:
        return f"The service ended at start with {name}.", "Mend the line that is named."
    return f"The service ended at once with exit code {code}, and said nothing of why.", "It must keep running."


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _stuck_at(pid: int, root: Path) -> tuple[str | None, int | None]:
    tool = shutil.which("py-spy")
    if tool is None:
        return None, None
    try:
        dump = subprocess.run([tool, "dump", "--pid", str(pid)], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None, None
    for match in re.finditer(r"\((?P<file>[^():]+):(?P<line>\d+)\)", dump.stdout):
        path = Path(match["file"])
        for candidate in (path, root / path):
            if candidate.is_relative_to(root) and candidate.is_file():
                return str(candidate.relative_to(root)), int(match["line"])
    return None, None
