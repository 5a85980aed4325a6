"""Submissions that no grader wants to meet: each must get a verdict in time, one clear sentence, and do no harm."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Prepare = Callable[[Path], None]


@dataclass(frozen=True)
class Hostile:
    """A folder's files, and words that the explanation must contain (empty: some check fails, that is all)."""

    name: str
    main: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    told: str = ""
    prepare: Prepare | None = None

    def write(self, folder: Path) -> None:
        """Write the submission into a folder."""
        files = {"app/__init__.py": "", "app/main.py": self.main} if self.main else {}
        for name, text in {**files, **self.files}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")
        if self.prepare:
            self.prepare(folder)


ASGI = """
async def reply(send, body=b"{}", status=200, headers=()):
    await send({"type": "http.response.start", "status": status,
                "headers": [(b"content-type", b"application/json"), *headers]})
    await send({"type": "http.response.body", "body": body})


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await answer(scope, receive, send)
"""


def answering(body: str) -> str:
    """An application whose every answer is made by the body of a function."""
    return f"import asyncio, os, sys, time\n{ASGI}\n\nasync def answer(scope, receive, send):\n" + textwrap.indent(
        textwrap.dedent(body), "    "
    )


WELL = answering('await reply(send, b\'{"message": "hello", "status": "healthy"}\')')
"""Serves GET / and GET /health, so that the grading goes on to meet what else the submission does."""


def _escaping_link(folder: Path) -> None:
    (folder / "app" / "secrets").symlink_to("/etc")


def _device(folder: Path) -> None:
    import os  # noqa: PLC0415  # for this one

    os.mkfifo(folder / "app" / "pipe")


HOSTILE = [
    Hostile("empty folder", told="is empty", prepare=lambda folder: folder.mkdir(exist_ok=True)),
    Hostile("no application", files={"README.md": "nothing yet"}, told="There is no module app"),
    Hostile("syntax error", "def broken(:\n", told="Python cannot read the code"),
    Hostile("bad indentation", "if True:\nx = 1\n", told="Python cannot read the code"),
    Hostile("import of nothing", "import no_such_module_here\n", told="no_such_module_here"),
    Hostile("error at import", "raise ValueError('not today')\n", told="ValueError"),
    Hostile("exit at import", "import os\nos._exit(0)\n", told="exit code 0"),
    Hostile("polite exit at import", "import sys\nsys.exit(0)\n", told="exit code 0"),
    Hostile("killed at import", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", told="SIGKILL"),
    Hostile("crash at import", "import ctypes\nctypes.string_at(0)\n", told="SIGSEGV"),
    Hostile("hang at import", "import time\ntime.sleep(600)\n", told="answered nothing"),
    Hostile("busy loop at import", "while True:\n    pass\n", told="answered nothing"),
    Hostile("waits for input", "input()\n", told="EOFError"),
    Hostile("no app in the module", "application = None\n", told="found no application"),
    Hostile("app is no application", "app = 42\n"),
    Hostile(
        "lifespan fails",
        "from fastapi import FastAPI\n\nasync def life(app):\n    raise RuntimeError('no')\n    yield\n\n"
        "app = FastAPI(lifespan=__import__('contextlib').asynccontextmanager(life))\n",
        told="RuntimeError",
    ),
    Hostile(
        "opens a port of its own",
        "import uvicorn\nfrom fastapi import FastAPI\napp = FastAPI()\nuvicorn.run(app, port=0)\n",
        told="answered nothing",
    ),
    Hostile("never answers", answering("await asyncio.sleep(600)"), told="answered nothing"),
    Hostile("dies at the first request", answering("os._exit(7)"), told="exit code 7"),
    Hostile(
        "dies at every second request",
        answering(
            "global seen\nseen = globals().get('seen', 0) + 1\nif seen > 3:\n    os._exit(1)\n"
            'await reply(send, b\'{"message": "m", "status": "healthy"}\')'
        ),
    ),
    Hostile("always 200", answering("await reply(send)")),
    Hostile("always 401", answering("await reply(send, status=401)")),
    Hostile("always 429", answering("await reply(send, status=429, headers=[(b'retry-after', b'1')])")),
    Hostile("always 503", answering("await reply(send, status=503, headers=[(b'retry-after', b'1')])")),
    Hostile("always 500", answering("raise RuntimeError('always')")),
    Hostile("output flood", answering("for _ in range(200):\n    print('x' * 10000)\nawait reply(send)")),
    Hostile("output flood at import", "for _ in range(20000):\n    print('x' * 1000)\n" + WELL),
    Hostile(
        "endless body",
        answering(
            "await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
            "while True:\n    await send({'type': 'http.response.body', 'body': b'x' * 65536, 'more_body': True})"
        ),
    ),
    Hostile(
        "body that drips",
        answering(
            "await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
            "while True:\n    await send({'type': 'http.response.body', 'body': b'x', 'more_body': True})\n"
            "    await asyncio.sleep(1)"
        ),
    ),
    Hostile(
        "declares ten gigabytes",
        answering(
            "await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'content-length', b'9' * 11)]})\n"
            "await send({'type': 'http.response.body', 'body': b'x', 'more_body': True})\nawait asyncio.sleep(600)"
        ),
    ),
    Hostile(
        "gzip bomb",
        answering(
            "import zlib\npacker = zlib.compressobj(9, zlib.DEFLATED, 31)\n"
            "bomb = packer.compress(b'0' * 50_000_000) + packer.flush()\n"
            "await reply(send, bomb, headers=[(b'content-encoding', b'gzip')])"
        ),
    ),
    Hostile("deeply nested JSON", answering("await reply(send, b'[' * 200_000)")),
    Hostile("huge headers", answering("await reply(send, headers=[(b'x-big', b'y' * 200_000)])")),
    Hostile("many headers", answering("await reply(send, headers=[(b'x-%d' % n, b'y' * 50) for n in range(3000)])")),
    Hostile("redirects in circles", answering("await reply(send, status=307, headers=[(b'location', b'/')])")),
    Hostile(
        "terminal control codes",
        answering('await reply(send, b\'{"message": "\\x1b[2J\\x1b]0;owned\\x07 <script>alert(1)</script>"}\')'),
    ),
    Hostile(
        "ignores SIGTERM",
        "import signal\n" + WELL + "\nimport threading\n"
        "def stubborn():\n    while True:\n        time.sleep(0.05)\n        os.system('')\n"
        "signal.signal = lambda *a: None\n",
    ),
    Hostile(
        "leaves daemons",
        "import os, time\n" + WELL + "\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        os.environ.clear()\n        os.setsid()\n"
        "        time.sleep(600)\n    os._exit(0)\n",
    ),
    Hostile(
        "many children",
        "import os, time\n" + WELL + "\n"
        "for _ in range(40):\n    if os.fork() == 0:\n        time.sleep(600)\n        os._exit(0)\n",
    ),
    Hostile(
        "fork bomb",
        "import os, time\n" + WELL + "\n"
        "deadline = time.monotonic() + 20\n"
        "if os.fork() == 0:\n    while time.monotonic() < deadline:\n        try:\n            os.fork()\n"
        "        except OSError:\n            time.sleep(0.01)\n    os._exit(0)\n",
    ),
    Hostile(
        "memory hog",
        "hog = []\nfor _ in range(64):\n    hog.append(bytearray(256 * 1024 * 1024))\n" + WELL,
        told="MemoryError",
    ),
    Hostile(
        "disk filler",
        "with open('filler', 'wb') as f:\n    for _ in range(4096):\n        f.write(bytes(1024 * 1024))\n" + WELL,
    ),
    Hostile(
        "kills its parent",
        "import os, signal\ntry:\n    os.kill(os.getppid(), signal.SIGKILL)\nexcept OSError:\n    pass\n" + WELL,
    ),
    Hostile(
        "squats on a port",
        "import socket\nsquat = socket.socket()\nsquat.bind(('127.0.0.1', 0))\nsquat.listen()\n" + WELL,
    ),
    Hostile("closes all its files", "import os\nos.closerange(3, 256)\n" + WELL),
    Hostile("a link out of the folder", WELL, told="leaves the folder", prepare=_escaping_link),
    Hostile("a pipe among the files", WELL, told="neither a file nor a folder", prepare=_device),
    Hostile(
        "names from everywhere", WELL, files={"app/ünïcödé – 名前 \n.txt": "x", "app/-rf": "x", "app/$(reboot)": "x"}
    ),
    Hostile("pyproject that is no TOML", WELL, files={"pyproject.toml": "[tool.grade\n"}, told="cannot be read"),
    Hostile(
        "app named wrongly",
        WELL,
        files={"pyproject.toml": '[tool.grade]\napp = "app.main"\n'},
        told="package.module:attribute",
    ),
    Hostile("shadows the standard library", WELL, files={"json.py": "raise SystemExit(0)\n", "logging.py": "x = 1\n"}),
    Hostile(
        "conftest that paints all green",
        WELL,
        files={
            "conftest.py": "def pytest_pyfunc_call(pyfuncitem):\n    return True\n",
            "pytest.ini": "[pytest]\naddopts = --collect-only\n",
            "sitecustomize.py": "import sys\nsys.exit(0)\n",
        },
    ),
]
