"""Files that start the course elsewhere (Kubernetes, JupyterHub, Binder, Codespaces), and the page on sizes."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from grader.course import ROOT
from grader.deployment import RULES, Tree
from grader.deployment.rule import judge

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
KUSTOMIZATION = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
VALUES = yaml.safe_load((DEPLOY / "jupyterhub" / "values.yaml").read_text())
SIZING = (DEPLOY / "SIZING.md").read_text()

KUBERNETES_VERSION = "1.37"


def resources() -> list[dict[str, Any]]:
    """Return every object that `kubectl apply -k` would make."""
    files = [KUBERNETES / name for name in KUSTOMIZATION["resources"]]
    return [each for file in files for each in yaml.safe_load_all(file.read_text()) if each]


def named(kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in resources() if each["kind"] == kind and each["metadata"]["name"] == name]
    return found


def test_rules_for_learners_hold_for_the_manifests(tmp_path: Path) -> None:
    shutil.copytree(KUBERNETES, tmp_path / "k8s")
    tree = Tree(tmp_path)
    assert [each.sentence for rule in RULES.values() if rule.kind == "k8s" for each in judge(rule, tree)] == []


def test_every_file_is_applied_and_pinned() -> None:
    assert set(KUSTOMIZATION["resources"]) == {file.name for file in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    images = re.findall(r"image: (\S+)", "".join(file.read_text() for file in KUBERNETES.glob("*.yaml")))
    assert all(re.search(r":\d+\.\d+", image) for image in images)
    (changed,) = KUSTOMIZATION["images"]
    assert {image.partition(":")[0] for image in images} >= {changed["name"]}


def test_autoscalers_follow_cpu_and_the_queue() -> None:
    api, worker = named("HorizontalPodAutoscaler", "api")["spec"], named("ScaledObject", "worker")["spec"]
    assert api["scaleTargetRef"]["name"] == named("Deployment", "api")["metadata"]["name"]
    assert [metric["resource"]["name"] for metric in api["metrics"]] == ["cpu"]
    assert worker["scaleTargetRef"]["name"] == named("Deployment", "worker")["metadata"]["name"]
    queue, cpu = worker["triggers"]
    assert (queue["type"], queue["metadata"]["listName"], cpu["type"]) == ("redis", "celery", "cpu")
    assert all(isinstance(value, str) for trigger in worker["triggers"] for value in trigger["metadata"].values())
    for deployment in ("api", "worker"):
        assert "replicas" not in named("Deployment", deployment)["spec"], "an autoscaler and a number would fight"


def test_secrets_are_named_and_not_given() -> None:
    example = (KUBERNETES / "secret.env.example").read_text()
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["api"]["environment"]
    needed = {name for name, value in compose.items() if value is not None} | {"POSTGRES_PASSWORD"}
    assert set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE)) == needed
    assert all(each["kind"] != "Secret" for each in resources())


def test_manifests_fit_the_schemas_of_kubernetes() -> None:
    try:
        schemas = importlib.import_module("kubernetes_validate")
    except ModuleNotFoundError:
        pytest.skip("kubernetes-validate is not installed (pip install kubernetes-validate)")
    for each in resources():
        if "." not in each["apiVersion"].split("/")[0] or each["apiVersion"].split("/")[0].endswith("k8s.io"):
            schemas.validate(each, KUBERNETES_VERSION, strict=True)


def test_kustomize_builds() -> None:
    kubectl = shutil.which("kubectl")
    if not kubectl:
        pytest.skip("kubectl is not on the PATH")
    built = subprocess.run([kubectl, "kustomize", KUBERNETES], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr


def test_hub_starts_the_course_for_one_learner_at_a_time() -> None:
    user = VALUES["singleuser"]
    assert user["image"]["tag"] != "latest"
    assert user["cmd"] == ["start-course"]
    assert user["uid"] == 1000
    assert user["networkPolicy"]["enabled"] is True
    assert not user["allowPrivilegeEscalation"]
    recipe = (DEPLOY / "jupyterhub" / "Dockerfile").read_text()
    assert re.search(r"jupyterhub==5\.\d+\.\d+", recipe)
    assert recipe.rstrip().splitlines()[-1] == 'CMD ["start-course"]'


def test_hub_keeps_what_a_learner_wrote(tmp_path: Path) -> None:
    course, home, tools = tmp_path / "image", tmp_path / "home", tmp_path / "tools"
    for name, text in {
        "labs/one.md": "new",
        "notebooks/n.ipynb": "new",
        "grader/a.py": "judge",
        "README.md": "read",
    }.items():
        (course / name).parent.mkdir(parents=True, exist_ok=True)
        (course / name).write_text(text)
    tools.mkdir()
    for tool in ("python", "jupyterhub-singleuser"):
        (tools / tool).write_text("#!/bin/sh\n[ $0 = ${0%python} ] && pwd\nexit 0\n")
        (tools / tool).chmod(0o755)
    script = (
        (DEPLOY / "jupyterhub" / "start")
        .read_text()
        .replace("/course/*", f"{course}/*")
        .replace("-C /course ", f"-C {course} ")
    )
    env = {"HOME": str(home), "PATH": f"{tools}:{os.environ['PATH']}"}
    for _ in range(2):
        told = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr
        assert told.stdout.strip() == str(home / "course")
        (home / "course" / "labs" / "one.md").write_text("mine")
    assert (home / "course" / "labs" / "one.md").read_text() == "mine"
    assert (home / "course" / "grader").resolve() == course / "grader"


def test_binder_and_codespaces_take_the_lock() -> None:
    for script in ("postBuild", "start"):
        assert os.access(ROOT / "binder" / script, os.X_OK)
        assert subprocess.run(["bash", "-n", ROOT / "binder" / script], check=False).returncode == 0
    assert "--constraint requirements.lock" in (ROOT / "binder" / "postBuild").read_text()
    commented = (ROOT / ".devcontainer" / "devcontainer.json").read_text()
    container = json.loads(re.sub(r"^\s*//.*$", "", commented, flags=re.MULTILINE))
    assert "make setup" in container["onCreateCommand"]
    assert "stack/new_env.py" in container["onCreateCommand"]


# -- SIZING.md ------------------------------------------------------------------------------------------------------


def figure(name: str) -> float:
    """Read a measured or assumed figure of the page: `| name | value unit | … |`."""
    (found,) = re.findall(rf"^\| {re.escape(name)} \| ([\d.,]+)", SIZING, re.MULTILINE)
    return float(found.replace(",", ""))


@pytest.mark.parametrize("learners", [30, 300, 3000])
def test_sizes_follow_from_the_figures(learners: int) -> None:
    (row,) = re.findall(rf"^\| {learners:,} \| (.*) \|$", SIZING, re.MULTILINE)
    online, grading, memory, cores, nodes = (float(cell.replace(",", "")) for cell in row.split(" | "))
    share = figure(f"of {learners:,} learners at once")
    assert online == pytest.approx(learners * share / 100, abs=1)
    per_hour, wall = figure("runs of the grader in an hour"), figure("seconds of a run")
    assert grading == pytest.approx(max(1, online * per_hour * wall / 3600), rel=0.1, abs=1)
    at_rest = figure("JupyterLab") + 2 * figure("a kernel") + figure("a service by hand")
    wanted = (online * at_rest + grading * figure("a run of one lab, at most")) / 1024
    assert memory == pytest.approx(wanted, rel=0.05, abs=1)
    busy = online * per_hour * figure("processor seconds of a run") / 3600 + online * figure(
        "cores of somebody who reads and writes"
    )
    assert cores == pytest.approx(busy / 0.6, rel=0.05, abs=1)
    assert nodes >= max(memory / (0.85 * 32), cores / 8)
    assert nodes <= max(memory / (0.85 * 32), cores / 8) + 1


def test_hub_guarantees_what_the_page_reckons_with() -> None:
    memory = VALUES["singleuser"]["memory"]
    at_rest = figure("JupyterLab") + 2 * figure("a kernel") + figure("a service by hand")
    assert float(memory["guarantee"].removesuffix("M")) == pytest.approx(at_rest, rel=0.1)
    assert float(memory["limit"].removesuffix("G")) * 1000 > figure("a run of seven labs, at most") + at_rest
