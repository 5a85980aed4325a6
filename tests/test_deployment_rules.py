"""The law of the deployment rules: the finished files break none, and each named fault is seen by its rule alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from grader.deployment import RULES, inspect
from grader.starter import render_tree
from tests.deployment_faults import FAULTS, Fault

SOLUTION = Path(__file__).parents[1] / "solutions" / "service"
ELSEWHERE = {"env-in-image", "secret-copied", "k8s-missing", "k8s-no-workload", "compose-missing", "dockerfile-missing"}
"""Graded rules with tests of their own below: their faults are more than one edit."""


def broken(root: Path) -> set[str]:
    return {finding.rule for finding in inspect(root) if not finding.advice}


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished")
    render_tree(SOLUTION, root, range(1, 11))
    return root


@pytest.fixture
def service(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "service"))


def apply(fault: Fault, root: Path) -> None:
    path = root / fault.file
    text = path.read_text()
    if not fault.old and not fault.new:
        path.unlink()
    elif not fault.old:
        path.write_text(fault.new)
    else:
        assert text.count(fault.old) == 1, f"{fault.old!r} stands {text.count(fault.old)} times in {fault.file}"
        path.write_text(text.replace(fault.old, fault.new))


def test_finished_files_break_no_rule_and_need_no_advice(finished: Path) -> None:
    assert [finding.sentence for finding in inspect(finished)] == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_is_seen_by_its_rule_alone(fault: Fault, service: Path) -> None:
    apply(fault, service)
    assert broken(service) == {fault.rule}


def test_every_graded_rule_has_a_fault() -> None:
    graded = {name for name, rule in RULES.items() if not rule.advice}
    assert graded == {fault.rule for fault in FAULTS} | ELSEWHERE


def test_every_rule_says_what_why_and_how() -> None:
    for rule in RULES.values():
        assert rule.promise.endswith("."), rule.name
        assert rule.why.endswith("."), rule.name
        assert rule.mend.endswith("."), rule.name


def test_starter_breaks_rules_of_every_kind(tmp_path: Path) -> None:
    render_tree(SOLUTION, tmp_path, range(1, 8))
    kinds = {finding.kind for finding in inspect(tmp_path) if not finding.advice}
    assert kinds == {"Dockerfile", ".dockerignore", "compose", "Procfile", "railway", "workflow", "k8s"}


def test_empty_folder_lacks_every_file(tmp_path: Path) -> None:
    missing = {name for name in RULES if name.endswith("-missing") and name != "compose-service-missing"}
    assert broken(tmp_path) == {name for name in missing if not name.endswith("-app-missing")} - {"start-missing"}


def test_findings_point_to_the_line(service: Path) -> None:
    compose = service / "compose.yaml"
    compose.write_text(
        compose.read_text().replace("${JWT_SECRET:?set it in .env}", "super-secret-super-secret-super-secret")
    )
    line = next(n for n, text in enumerate(compose.read_text().splitlines(), start=1) if "super-secret" in text)
    assert {(finding.file, finding.line) for finding in inspect(service)} == {("compose.yaml", line)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env", "OPENAI_API_KEY=abcdefghijkl\n"),
        ("app/local.env", "export JWT_SECRET='abcdefghijklmnopqrstuvwxyz0123456789'\n"),
        ("app/settings.py", f'KEY = "sk-proj-{"a1B2" * 10}"\n'),
        ("app/tls.key", "-----BEGIN PRIVATE KEY-----\nMIIE\n"),
    ],
)
def test_copied_secret_is_found(name: str, text: str, service: Path) -> None:
    (service / ".dockerignore").write_text("# nothing\n")
    dockerfile = service / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("COPY app app", "COPY app app\nCOPY .en* ./"))
    (service / ".env.example").unlink()
    (service / name).write_text(text)
    found = [finding for finding in inspect(service) if finding.rule == "secret-copied"]
    assert [finding.file for finding in found] == [name]


@pytest.mark.parametrize("ignored", ["__pycache__\n", ".env.example\n", "*.env\n!.env\n", "deploy/.env\n"])
def test_env_gets_into_the_image(ignored: str, service: Path) -> None:
    (service / ".dockerignore").write_text(ignored)
    dockerfile = service / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("COPY app app", "COPY . ."))
    assert broken(service) == {"env-in-image"}


@pytest.mark.parametrize(
    "ignored", [".env*\n", "**/.env\n", "/.env\n", "*\n!app\n!requirements.txt\n", ".*\n", "./.env/\n"]
)
def test_env_stays_out_of_the_image(ignored: str, service: Path) -> None:
    (service / ".dockerignore").write_text(ignored)
    dockerfile = service / "Dockerfile"
    dockerfile.write_text(dockerfile.read_text().replace("COPY app app", "COPY . ."))
    assert broken(service) == set()


def test_manifests_must_run_the_service(service: Path) -> None:
    shutil.rmtree(service / "k8s")
    (service / "k8s").mkdir()
    (service / "k8s" / "redis.yaml").write_text(
        "kind: Deployment\nmetadata: {name: redis}\nspec: {template: {spec: {containers: [{image: 'redis:8.2'}]}}}\n"
    )
    assert broken(service) == {"k8s-no-workload"}


@pytest.mark.parametrize(
    ("name", "rule"),
    [("Dockerfile", "dockerfile-missing"), ("compose.yaml", "compose-missing"), ("k8s", "k8s-missing")],
)
def test_missing_file_is_one_finding(name: str, rule: str, service: Path) -> None:
    path = service / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert broken(service) == {rule}


def test_hostile_files_raise_nothing(service: Path) -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
    )
    (service / "compose.yaml").write_text(bomb + "services: &s {api: *s}\n")
    (service / ".github" / "workflows" / "deploy.yml").write_text("jobs: {a: {needs: b}, b: {needs: a}}\non: push\n")
    (service / "Dockerfile").write_bytes(b"\xff\xfeFROM x\n\0")
    (service / "Procfile").write_text("web: " + "(" * 5000 + "'\n")
    (service / "k8s" / "api.yaml").write_text("[" * 3000)
    (service / "railway.toml").write_text('deploy = "text"\n')
    (service / "scripts" / "backup").unlink()
    (service / "scripts" / "backup").symlink_to("/etc/passwd")
    assert broken(service)
