"""`course serve`: a service to play with, and nothing of it left afterwards."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from grader import playground

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = """\
import os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        print("the service says hello", flush=True)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    names = ("OPENAI_BASE_URL", "OPENAI_API_KEY", "REDIS_URL", "API_KEYS", "RATE_LIMIT_REQUESTS")
    body = "\\n".join(os.environ[name] for name in names).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").touch()
    (tmp_path / "app" / "main.py").write_text(SERVICE)
    env = {name: value for name, value in os.environ.items() if name not in {"REDIS_URL", "OPENAI_BASE_URL"}}
    env |= {"COURSE_HOME": str(tmp_path / "home"), "RATE_LIMIT_REQUESTS": "3"}
    command = [str(Path(sys.executable).with_name("course")), "serve", "--service", str(tmp_path)]
    command += ["--port", "0", "--no-reload"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        yield process
        process.kill()


def read_until(process: subprocess.Popen[bytes], wanted: str) -> str:
    """Return what a process has said, `wanted` included."""
    assert process.stdout
    said = ""
    while wanted not in said:
        assert select.select([process.stdout], [], [], 60)[0], said
        data = os.read(process.stdout.fileno(), 1 << 16)
        assert data, said
        said += data.decode()
    return said


def test_a_service_can_be_tried_by_hand_and_ends_with_all_its_servers(served: subprocess.Popen[bytes]) -> None:
    said = read_until(served, "Uvicorn running")
    assert "the service says hello" in said
    url = re.search(r"curl -i (http://127\.0\.0\.1:\d+)/health", said)
    assert url
    model, key, redis, keys, limit = httpx.get(f"{url[1]}/").text.split("\n")
    assert model in said
    assert httpx.get(f"{model}/models", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    assert redis.startswith("redis://127.0.0.1:")
    assert "lab-user" in keys
    assert limit == "3"  # the caller's own variables win
    children = psutil.Process(served.pid).children(recursive=True)
    assert len(children) >= 4
    served.send_signal(signal.SIGINT)
    assert served.wait(30) == 0
    assert not psutil.wait_procs(children, timeout=10)[1]


def test_a_taken_port_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit, match="2"):
            playground.main(["--service", str(tmp_path), "--port", str(port)])
    assert f"port {port} is taken" in capsys.readouterr().err


def test_an_empty_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        playground.main(["--service", str(tmp_path), "--port", "0"])
    assert "is empty" in capsys.readouterr().err


def test_a_provider_of_ones_own_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://model.example/v1")
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    assert playground.environment({}, "redis://127.0.0.1:1/0")["OPENAI_BASE_URL"] == "https://model.example/v1"
