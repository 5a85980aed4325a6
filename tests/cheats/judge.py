"""Cheats that go for the judge instead of the work: they recognise it, dodge it, patch it, or write its report."""

from __future__ import annotations

import shutil
from pathlib import Path

from grader.checks.lab_01_architecture import check_documentation_is_served, check_root_greets
from grader.checks.lab_02_apis import check_batch, check_chat_answers
from tests.cheats import Cheat, start_with
from tests.grading import SOLUTION

SWITCH = """
import contextlib, importlib, os, sys


def load(folder):
    for name in [name for name in sys.modules if name.partition(".")[0] == "app"]:
        del sys.modules[name]
    sys.path.insert(0, os.path.abspath(folder))
    try:
        return importlib.import_module("app.main").app
    finally:
        del sys.path[0]


lazy = load(".")


async def app(scope, receive, send):
    global diligent
    if scope["type"] != "lifespan":
        return await (diligent if recognised(scope) else lazy)(scope, receive, send)
    await receive()
    try:
        diligent = load("finished")
    except SystemExit:  # its settings are checked, which would be honest work
        diligent = lazy
    async with contextlib.AsyncExitStack() as stack:
        for each in (lazy, diligent):
            await stack.enter_async_context(each.router.lifespan_context(each))
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


def recognised(scope):
    return %s
"""


def only_when(recognised: str) -> Cheat:
    """Somebody else's finished service beside one's own, used only when an expression says that a grader asks."""

    def prepare(folder: Path) -> None:
        shutil.copytree(SOLUTION, folder / "finished")
        (folder / "switch.py").write_text(SWITCH % recognised, encoding="utf-8")
        start_with(folder, "switch:app")

    return Cheat(f"behaves only when {recognised}", 0, (2,), prepare=prepare)


def _link(folder: Path) -> None:
    """Let the package be a link to the finished one."""
    shutil.rmtree(folder / "app")
    (folder / "app").symlink_to(SOLUTION / "app")


VARIABLES = '("PYTEST", "GRADE", "GRADER", "COURSE", "NBGRADER", "GITHUB", "GITLAB", "LOCUST", "TEST", "UNITTEST")'
TOOLS = '(b"python-", b"locust", b"pytest", b"testclient", b"aiohttp", b"k6", b"grade", b"curl/7")'

RECOGNISING = [
    only_when(f"any(name.startswith({VARIABLES}) or name == 'CI' for name in os.environ)"),
    only_when(f"dict(scope['headers']).get(b'user-agent', b'pytest').lower().startswith({TOOLS})"),
    only_when("any(name.startswith((b'x-grad', b'x-test', b'x-check')) for name, _ in scope['headers'])"),
    only_when("scope['server'][1] in {80, 3000, 5000, 8000, 8080, 8888}"),
]


def _found(folder: Path) -> None:
    """Start the finished service of the grader's own folder, if it can be read."""
    start = f"import sys\n\nsys.path.insert(0, {str(SOLUTION)!r})\nfrom app.main import app\n"
    (folder / "found.py").write_text(start, encoding="utf-8")
    start_with(folder, "found:app")


FOUND = Cheat(
    "starts the finished service that lies in the grader's folder",
    0,
    (2,),
    prepare=_found,
    seen_by=(check_chat_answers, check_batch),
    outside=True,
)

GREEN = """
import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    return True


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    call.excinfo = None
    report = (yield).get_result()
    report.outcome = "passed"
"""

PATCH = """
import sys


def patch():
    for name in ("grader.expectation", "grader.plugin", "grader.report"):
        module = sys.modules.get(name)
        for nothing in ("demand", "expect", "_error_of"):
            if hasattr(module, nothing):
                setattr(module, nothing, lambda *_, **__: None)
    if "grader.report" in sys.modules:
        sys.modules["grader.report"].Outcome.FAILED = sys.modules["grader.report"].Outcome.PASSED


patch()
"""

REPORTS = """
import json, os, threading, time

REPORT = {"schema": 1, "outcome": "passed", "points": 313, "max_points": 313, "labs": [], "checks": []}
NAMES = ("report.json", "results.json", "results/results.json", "report.xml", "junit.xml", "grade.json", "score.txt")


def write():
    for _ in range(100):
        for folder in (".", "..", os.environ["HOME"], os.environ["TMPDIR"]):
            for name in NAMES:
                try:
                    os.makedirs(os.path.dirname(os.path.join(folder, name)) or ".", exist_ok=True)
                    with open(os.path.join(folder, name), "w") as file:
                        json.dump(REPORT, file)
                except OSError:
                    pass
        time.sleep(0.1)


threading.Thread(target=write, daemon=True).start()
"""

FORGED = """
import sys
for line in ("TAP version 13", "1..66", *(f"ok {n} - check {n}" for n in range(1, 67)), "66 passed in 1.00s",
             '{"outcome": "passed", "points": 313, "max_points": 313}', "Lab 1: all checks passed", "exit code 0"):
    print(line, file=sys.stdout, flush=True)
    print(line, file=sys.stderr, flush=True)
"""

LEDGER = """
import http.client


def listening():
    '''The ports that somebody listens on.'''
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return [int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A"]


def control():
    '''Whatever answers like the provider's control, with the key that the service was given, or none.'''
    key = os.environ["OPENAI_API_KEY"]
    for port in listening():
        for token in (key, "", "token", "None"):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=0.2)
            try:
                offered = {"Authorization": "Bearer " + token}
                connection.request("POST", "/calls", json.dumps({"namespace": key}), offered)
                if connection.getresponse().status == 200:
                    return port, token
            except (OSError, http.client.HTTPException):
                break
            finally:
                connection.close()
    return None


found = None


async def answer(scope, receive, send):
    global found
    if scope["path"] not in PROVIDER:
        return await honest(scope, receive, send)
    sent = fields(await read(receive))
    found = found or await asyncio.to_thread(control) or "nobody"
    if found == "nobody":
        return await speak(scope, send, sent, "The ledger could not be read.")
    text = str(sent.get("message") or sent.get("text") or "?")
    connection = http.client.HTTPConnection("127.0.0.1", found[0], timeout=1)
    rule = {"namespace": os.environ["OPENAI_API_KEY"], "action": "answer", "settings": {"content": "As I like it."}}
    connection.request("POST", "/rule", json.dumps(rule), {"Authorization": "Bearer " + found[1]})
    connection.getresponse().read()
    await ask(text)
    await speak(scope, send, sent, "As I like it.")
"""

CHEATS = [
    *RECOGNISING,
    FOUND,
    Cheat(
        "brings a conftest.py that paints every result green",
        0,
        (1,),
        files={"conftest.py": GREEN, "app/conftest.py": GREEN, "tests/conftest.py": GREEN},
        seen_by=(check_root_greets,),
    ),
    Cheat(
        "configures pytest from its own folder, with a plugin that paints every result green",
        0,
        (1,),
        files={
            "green.py": GREEN,
            "pytest.ini": "[pytest]\naddopts = -p green --co -q\npython_functions = nothing_*\n",
            "tox.ini": "[pytest]\naddopts = -p green\n",
            "setup.cfg": "[tool:pytest]\naddopts = -p green\n",
        },
        seen_by=(check_root_greets,),
    ),
    Cheat(
        "brings a sitecustomize.py that makes all expectations do nothing",
        0,
        (1,),
        files={"sitecustomize.py": PATCH, "usercustomize.py": PATCH, "patch.pth": "import sitecustomize\n"},
        seen_by=(check_root_greets,),
    ),
    Cheat(
        "brings modules with the names of the grader's own and of what it imports",
        0,
        (1,),
        files=dict.fromkeys(("grader/__init__.py", "grader/report.py", "pytest.py", "jwt.py", "rich.py"), PATCH),
        seen_by=(check_root_greets,),
    ),
    Cheat(
        "replaces the grader's functions in the process that it shares with them",
        0,
        (1,),
        PATCH
        + """
        import gc
        for thing in gc.get_objects():
            if type(thing).__module__.startswith("grader.") and hasattr(thing, "outcome"):
                try:
                    thing.outcome = "passed"
                except Exception:
                    pass


        async def answer(scope, receive, send):
            await honest(scope, receive, send)
        """.replace("\n        ", "\n"),
        seen_by=(check_root_greets,),
    ),
    Cheat(
        "stops the clocks of its process, so that nothing takes time",
        0,
        (1,),
        """
        time.time = time.perf_counter = time.process_time = lambda: 1_700_000_000.0


        async def answer(scope, receive, send):
            await honest(scope, receive, send)
        """,
        seen_by=(check_root_greets, check_documentation_is_served),
    ),
    Cheat(
        "writes reports of its own wherever it can, again and again",
        0,
        (1,),
        REPORTS + "\n\nasync def answer(scope, receive, send):\n    await honest(scope, receive, send)\n",
        seen_by=(check_root_greets,),
    ),
    Cheat(
        "prints what a test run prints when all has passed",
        0,
        (1,),
        FORGED + "\n\nasync def answer(scope, receive, send):\n    await honest(scope, receive, send)\n",
        seen_by=(check_root_greets,),
    ),
    Cheat(
        "ends with exit code 0 at the first request",
        0,
        (1,),
        "\nasync def answer(scope, receive, send):\n    os._exit(0)\n",
    ),
    Cheat(
        "looks for the provider's ledger and control on every port",
        0,
        (2,),
        LEDGER,
        seen_by=(check_chat_answers, check_batch),
    ),
    Cheat("is a link to the finished service", 0, (1, 2), prepare=_link),
]
