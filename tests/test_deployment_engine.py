"""The container engine and other tools, told by programs that stand in for them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from grader.deployment import Tree, engine, runnable, second_opinion
from grader.deployment.second_opinion import Tool, opinions

Script = Callable[[str, str], None]

ENGINE = """
import pathlib, sys
words = sys.argv[1:]
with open(pathlib.Path(__file__).with_name("calls"), "a") as calls:
    calls.write(" ".join(words) + "\\n")
answers = {
    "version": "27.0", "build": BUILD, "run": "id", "port": "127.0.0.1:4321", "top": "UID PID\\n10001 7\\n",
    "inspect": '{"Test": ["CMD", "probe"]}' if "Healthcheck" in " ".join(words) else '{"Running": true, "ExitCode": 0}',
}
said = answers.get(words[0], "")
if isinstance(said, str):
    print(said)
else:
    sys.exit(said[0])
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Put a program of this name and Python text on the PATH, which holds nothing else."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.write_text(f"#!{sys.executable}\n{text}")
        path.chmod(0o755)

    return write


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines()


def test_no_engine_where_none_answers(program: Script) -> None:
    assert engine.find_engine() is None
    program("docker", "import sys; sys.exit('Cannot connect to the Docker daemon')")
    program("podman", "print()")
    assert engine.find_engine() is None


def test_image_and_container_are_removed(program: Script, tmp_path: Path) -> None:
    program("docker", ENGINE.replace("BUILD", "''"))
    found = engine.find_engine()
    assert found
    with found.image(tmp_path, "api") as image, found.container(image, {"PORT": "80"}, 80) as container:
        assert container.port == 4321
        assert container.users() == {"10001"}
        assert container.healthy()
        assert container.stop() == 0
    ended = calls(tmp_path)
    assert ended[1].startswith("build --tag graded-")
    assert ended[1].endswith(f"--target api {tmp_path}")
    assert [line.split(" graded-")[0] for line in ended[-2:]] == ["rm --force --volumes", "image rm --force"]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("ERROR: failed to resolve source metadata for docker.io/library/python", engine.NoNetworkError),
        ("pip: Temporary failure in name resolution", engine.NoNetworkError),
        ("COPY failed: no such file", engine.EngineError),
    ],
)
def test_failed_build_is_told_from_a_missing_network(
    said: str, error: type[Exception], program: Script, tmp_path: Path
) -> None:
    program("docker", ENGINE.replace("BUILD", f"[{said!r}]"))
    found = engine.find_engine()
    assert found
    with pytest.raises(engine.EngineError) as raised, found.image(tmp_path):
        pass
    assert type(raised.value) is error
    assert calls(tmp_path)[-1].startswith("image rm")


def test_tools_that_are_not_there_were_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    said = opinions(tmp_path)
    assert {opinion.lines for opinion in said} == {None}
    assert said[0].sentence == "hadolint: not run (not found)"


def test_opinions_are_quoted(program: Script, tmp_path: Path) -> None:
    program("strict", "import sys; print(sys.argv[1] + ':1 error: no'); print('and more'); sys.exit(1)")
    program("mild", "print('looks good')")
    program("slow", "import time; time.sleep(60)")
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    tools = [Tool(name, (name, "{}"), ("Dockerfile",)) for name in ("strict", "mild", "none")]
    tools.append(Tool("strict", ("strict", "{}"), ("k8s/*.yaml",)))
    assert [opinion.sentence for opinion in opinions(tmp_path, tools)] == [
        "strict: Dockerfile:1 error: no",
        "mild: nothing to say",
        "none: not run (not found)",
        "strict: not run (no file of its kind)",
    ]


def test_tool_that_hangs_was_not_run(program: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_opinion, "TIME_LIMIT", 0.1)
    program("slow", "import time; time.sleep(60)")
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    (said,) = opinions(tmp_path, [Tool("slow", ("slow", "{}"), ("Dockerfile",))])
    assert said.sentence == "slow: not run (TimeoutExpired)"


def words_of(tmp_path: Path, start: str) -> list[str]:
    (tmp_path / "app").mkdir(exist_ok=True)
    (tmp_path / "app" / "main.py").touch()
    (tmp_path / "requirements.txt").write_text("granian==2.8.7\n")
    (tmp_path / "Dockerfile").write_text(f"FROM python:3.13-slim\nCOPY app app\n{start}\n")
    tree = Tree(tmp_path)
    assert tree.image
    return runnable.of_image(tree, tree.image)


UVICORN = str(Path(sys.executable).with_name("uvicorn"))


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ("CMD uvicorn app.main:app", ["/bin/sh", "-c", "uvicorn app.main:app"]),
        ('ENTRYPOINT ["tini", "--", "python", "-m"]\nCMD ["app.main"]', ["python", "-m", "app.main"]),
        ('CMD ["/venv/bin/uvicorn", "a:b"]', [UVICORN, "a:b"]),
        ('CMD ["sh", "-ec", "cd /srv && exec /venv/bin/uvicorn a:b"]', ["sh", "-ec", f"cd /srv && exec {UVICORN} a:b"]),
        ('CMD ["uvicron", "a:b"]', ["uvicron", "a:b"]),
        ("EXPOSE 8000", []),
    ],
)
def test_start_command_as_this_machine_runs_it(start: str, words: list[str], tmp_path: Path) -> None:
    assert words_of(tmp_path, start) == words


@pytest.mark.parametrize(
    "start",
    [
        'CMD ["/opt/start"]',
        'CMD ["sh", "-c", "exec granian a:b"]',
        'COPY app/ /elsewhere/\nCMD ["python", "-m", "main"]',
        'CMD ["/opt/tool", "a:b"]',
    ],
)
def test_start_command_that_needs_the_image(start: str, tmp_path: Path) -> None:
    with pytest.raises(runnable.NotRunnableError):
        words_of(tmp_path, start)
