from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grader import serving
from grader.service import listen
from grader.supervisor import Limits, Process, Supervisor
from grader.workshop import PRELOAD

ENV = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
SOON = 20.0
WARM = ("uvicorn", "uvicorn.lifespan.on", "uvloop", "httptools", "no_such_module", "redis", "random")

APP = """
import gc, json, os, random, socket, ssl, sys, tempfile, threading
print("importing")
drawn = random.random(), tempfile.gettempdir()

def nodelay():
    for name in os.listdir("/dev/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as seen:
                seen.getpeername()
                if seen.family == socket.AF_INET:
                    yield seen.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        except OSError:
            continue

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("bye")
        return await send({"type": "lifespan.shutdown.complete"})
    import redis
    seen = {
        "env": dict(os.environ), "argv": sys.argv, "path": sys.path[0], "cwd": os.getcwd(), "drawn": drawn,
        "main": sorted(vars(sys.modules["__main__"])), "ours": [name for name in sys.modules if "grader" in name],
        "redis": redis.__file__, "threads": threading.active_count(), "leads": os.getsid(0) == os.getpid(),
        "nodelay": list(nodelay()), "parent_death": True, "frozen": gc.get_freeze_count() > 0,
    }
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(seen).encode()})

def make():
    return app
"""


@pytest.fixture(scope="module")
def warm() -> Iterator[Supervisor]:
    with Supervisor(preload=WARM) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "service" / "app").mkdir(parents=True)
    (tmp_path / "service" / "app" / "main.py").write_text(APP)
    return tmp_path / "service"


class Served:
    """A service under test; what it says of itself."""

    def __init__(self, warm: Supervisor, folder: Path, app: str = "app.main:app", **env: str) -> None:
        self.log = folder.parent / "log"
        with listen() as listener:
            self.port = listener.getsockname()[1]
            more = {"factory": app.endswith(":make"), "env": ENV | env}
            self.process: Process = warm.serve(app, cwd=folder, listener=listener, log=self.log, **more)  # type: ignore[arg-type]

    def seen(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=SOON) as answer:
            found = json.load(answer)
        assert isinstance(found, dict)
        return found

    def ended(self) -> tuple[int | None, str]:
        code = self.process.wait(SOON)
        self.process.stop()
        return code, self.log.read_text()


def uvicorn_itself(folder: Path, app: str) -> tuple[int, str]:
    """Run uvicorn's own command, for services that end by themselves."""
    command = [str(Path(sys.executable).with_name("uvicorn")), app, "--port", "0"]
    ran = subprocess.run(
        command, cwd=folder, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return ran.returncode, ran.stdout


@pytest.mark.parametrize("app", ["app.main:app", "app.main:make"])
def test_a_service_is_forked_clean(warm: Supervisor, folder: Path, app: str) -> None:
    served = Served(warm, folder, app, TMPDIR=str(folder), SETTING="1")
    seen = served.seen()
    shown = Path(f"/proc/{served.process.pid}/cmdline").read_text().rstrip("\0").split("\0")
    assert shown == [sys.executable, *seen["argv"]]
    assert served.process.stop() == -signal.SIGTERM
    assert seen["env"] == ENV | {"TMPDIR": str(folder), "SETTING": "1"}
    factory = ["--factory"] if app.endswith(":make") else []
    assert seen["argv"] == [str(Path(sys.executable).with_name("uvicorn")), app, *factory]
    assert seen["path"] == seen["cwd"] == str(folder) == seen["drawn"][1]  # TMPDIR
    assert seen["ours"] == []
    assert "main" not in seen["main"]
    assert seen["threads"] == 1
    assert seen["leads"]
    assert seen["frozen"]
    assert seen["nodelay"] == [True]
    assert not (folder / "app" / "__pycache__").exists()


def test_the_log_is_that_of_uvicorn(warm: Supervisor, folder: Path) -> None:
    served = Served(warm, folder)
    served.seen()
    assert served.process.stop() == -signal.SIGTERM
    lines = served.log.read_text().splitlines()
    assert [line for line in lines if "GET" not in line] == [
        "importing",
        f"INFO:     Started server process [{served.process.pid}]",
        "INFO:     Waiting for application startup.",
        "INFO:     Application startup complete.",
        f"INFO:     Uvicorn running on http://127.0.0.1:{served.port} (Press CTRL+C to quit)",
        "INFO:     Shutting down",
        "INFO:     Waiting for application shutdown.",
        "bye",
        "INFO:     Application shutdown complete.",
        f"INFO:     Finished server process [{served.process.pid}]",
    ]
    assert '"GET / HTTP/1.1" 200 OK' in served.log.read_text()


def test_forks_draw_different_numbers(warm: Supervisor, folder: Path) -> None:
    drawn = set()
    for _ in range(2):
        served = Served(warm, folder)
        drawn.add(served.seen()["drawn"][0])
        served.process.stop()
    assert len(drawn) == 2


FAILURES = {
    "broken import": "import json\n\ndef load():\n    return {}['model']\n\nload()\n",
    "syntax error": "def app(:\n    pass\n",
    "missing module": "import no_such_module_at_all\n",
    "no app": "apps = 1\n",
    "exit": "import sys\nsys.exit('no settings')\n",
    "exit code": "import sys\nprint('leaving')\nsys.exit(9)\n",
    "last words": (
        "import atexit, sys, threading\natexit.register(print, 'farewell')\n"
        "threading.Thread(target=print, args=['thread']).start()\nsys.exit(300)\n"
    ),
    "broken farewell": "import atexit\natexit.register(int, 'farewell')\nraise SystemExit\n",
    "startup refuses": APP.replace("startup.complete", "startup.failed"),
    "own hook": "import sys\nsys.excepthook = lambda *_: print('hooked')\n1 / 0\n",
}


@pytest.mark.parametrize("failure", FAILURES)
def test_failures_look_as_they_do_in_uvicorn(warm: Supervisor, folder: Path, failure: str) -> None:
    (folder / "app" / "main.py").write_text(FAILURES[failure])
    code, log = Served(warm, folder).ended()
    expected_code, expected_log = uvicorn_itself(folder, "app.main:app")
    assert code == expected_code
    assert what_the_learner_wrote(log) == what_the_learner_wrote(expected_log)
    assert "grader" not in log.replace(str(folder), "")


def what_the_learner_wrote(log: str) -> list[str]:
    """Leave out the process id, and the frames between the start of a traceback and the first of the app's."""
    lines = [line for line in log.splitlines() if "server process" not in line]
    if "Traceback (most recent call last):" in lines:
        start = lines.index("Traceback (most recent call last):")
        first = next((n for n, line in enumerate(lines) if n > start and "/app/main.py" in line), len(lines) - 1)
        return [*lines[: start + 1], *lines[first:]]
    return lines


def test_a_learners_module_is_not_shadowed_by_a_warm_one(warm: Supervisor, folder: Path) -> None:
    (folder / "redis.py").write_text("")
    (folder / "json.py").write_text("raise RuntimeError('uvicorn has imported json before')\n")
    served = Served(warm, folder)
    seen = served.seen()
    assert b"grader" not in Path(f"/proc/{served.process.pid}/cmdline").read_bytes()
    assert served.process.stop() == -signal.SIGTERM
    assert seen["redis"] == str(folder / "redis.py")
    assert seen["path"] == str(folder)
    assert not seen["frozen"]
    assert seen["nodelay"] == [True]
    assert seen["env"] == ENV


@pytest.mark.parametrize(
    ("files", "env", "expected"),
    [
        (["app/main.py", "redis/README"], {"PYTHONUNBUFFERED": "1", "REDIS_URL": "x"}, True),
        (["app/main.py", "pathlib/__init__.py"], {}, False),
        (["sys.so"], {}, False),
        (["app/main.py"], {"PYTHONPATH": "lib"}, False),
        (["app/main.py"], {"PROMETHEUS_MULTIPROC_DIR": "x"}, False),
    ],
)
def test_forks_are_for_services_that_cannot_tell(
    tmp_path: Path, files: list[str], env: dict[str, str], *, expected: bool
) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert serving.forkable(str(tmp_path), env) is expected


def test_limits_hold_in_forks(warm: Supervisor, folder: Path) -> None:
    (folder / "app" / "main.py").write_text("held = bytearray(600 << 20)\n" + APP)
    with listen() as listener:
        given = {"env": ENV, "cwd": folder, "log": folder.parent / "log"}
        limits = Limits(memory_bytes=500 << 20)
        process = warm.serve("app.main:app", factory=False, listener=listener, limits=limits, **given)  # type: ignore[arg-type]
    assert process.wait(SOON) == 1
    assert "MemoryError" in (folder.parent / "log").read_text()


def test_a_service_may_wait_for_the_imports(folder: Path) -> None:
    with Supervisor(preload=["uvicorn", "asyncio"]) as opened:
        assert Served(opened, folder).seen()["frozen"]


def test_interrupting_a_service_is_a_clean_end(warm: Supervisor, folder: Path) -> None:
    served = Served(warm, folder)
    served.seen()
    served.process.signal(signal.SIGINT)
    assert served.ended()[0] == 0


def test_the_imports_of_services_start_no_thread(folder: Path) -> None:
    with Supervisor(preload=PRELOAD) as opened:
        served = Served(opened, folder)
        seen = served.seen()
        assert seen["frozen"]
        assert seen["threads"] == 1
        for pid in (opened.pid, served.process.pid):
            assert len(list(Path(f"/proc/{pid}/task").iterdir())) == 1
