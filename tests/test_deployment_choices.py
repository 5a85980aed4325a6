"""The law's other half: files that chose differently and are right break no graded rule."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from grader.deployment import inspect
from grader.starter import render_tree
from tests import deployment_choices as choices

SOLUTION = Path(__file__).parents[1] / "solutions" / "service"


@pytest.fixture
def service(tmp_path: Path) -> Path:
    render_tree(SOLUTION, tmp_path, range(1, 11))
    return tmp_path


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def broken(root: Path) -> list[str]:
    return [finding.sentence for finding in inspect(root) if not finding.advice]


@pytest.mark.parametrize("choice", choices.DOCKERFILES)
def test_dockerfile(choice: str, service: Path) -> None:
    write(service, {**choices.BESIDES, "Dockerfile": choices.DOCKERFILES[choice]})
    if "target" in choice:
        compose = service / "compose.yaml"
        compose.write_text(compose.read_text().replace("build: .", "build: {context: ., target: api}"))
    assert broken(service) == []


@pytest.mark.parametrize("choice", choices.COMPOSE)
def test_compose(choice: str, service: Path) -> None:
    (service / "compose.yaml").unlink()
    write(service, choices.COMPOSE[choice])
    assert broken(service) == []


@pytest.mark.parametrize("choice", choices.WORKFLOWS)
def test_workflow(choice: str, service: Path) -> None:
    (service / ".github" / "workflows" / "deploy.yml").unlink()
    write(service, {f".github/workflows/{name}": text for name, text in choices.WORKFLOWS[choice].items()})
    write(service, {"Makefile": choices.MAKEFILE})
    assert broken(service) == []


@pytest.mark.parametrize("choice", choices.KUBERNETES)
def test_kubernetes(choice: str, service: Path) -> None:
    shutil.rmtree(service / "k8s")
    write(service, {f"k8s/{name}": text for name, text in choices.KUBERNETES[choice].items()})
    assert broken(service) == []


@pytest.mark.parametrize("choice", choices.PROCFILES)
def test_procfile(choice: str, service: Path) -> None:
    start = "#!/bin/bash\nset -e\nuvicorn app.main:app --host 0.0.0.0 --port $PORT\n"
    write(service, {**choices.BESIDES, "docker/start.sh": start, "Procfile": choices.PROCFILES[choice]})
    assert broken(service) == []


@pytest.mark.parametrize("choice", choices.RAILWAYS)
def test_railway(choice: str, service: Path) -> None:
    (service / "railway.toml").unlink()
    name, text = choices.RAILWAYS[choice]
    write(service, {name: text})
    assert broken(service) == []
