"""Cheats about deployment and scaling (labs 8 and 9)."""

from __future__ import annotations

from pathlib import Path

from grader.checks.lab_08_deployment import (
    check_backup_brings_sqlite_back,
    check_compose_has_all_four,
    check_image_command_runs,
    check_image_gives_up_root,
    check_image_tells_its_health,
    check_kubernetes_resources,
    check_kubernetes_scales,
    check_pipeline_deploys_only_tested_main,
    check_procfile_serves,
)
from grader.checks.lab_09_scaling import check_tasks_are_done, check_tasks_are_private
from tests.cheats import Cheat
from tests.grading import SOLUTION

DEPLOYED = ("Dockerfile", ".dockerignore", "compose.yaml", "Procfile", "railway.toml")
FOLDERS = (".github/workflows", "k8s")


def _as_comments(folder: Path) -> None:
    """Put all that the deployment files should say into comments."""
    for name in DEPLOYED:
        said = (SOLUTION / name).read_text(encoding="utf-8").splitlines()
        (folder / name).write_text("".join(f"# {line}\n" for line in said), encoding="utf-8")
    for inside in FOLDERS:
        (folder / inside).mkdir(parents=True, exist_ok=True)
        for path in (SOLUTION / inside).iterdir():
            said = path.read_text(encoding="utf-8").splitlines()
            (folder / inside / path.name).write_text("".join(f"# {line}\n" for line in said), encoding="utf-8")


def _empty(folder: Path) -> None:
    """Have all the files, and nothing in them."""
    for name in DEPLOYED:
        (folder / name).write_text("", encoding="utf-8")
    for inside, name in zip(FOLDERS, ("ci.yml", "api.yaml"), strict=True):
        (folder / inside).mkdir(parents=True, exist_ok=True)
        for path in (folder / inside).iterdir():
            path.unlink()
        (folder / inside / name).write_text("", encoding="utf-8")


def _harmless(folder: Path) -> None:
    """Files in which nothing can be wrong, since nothing is described in them."""
    (folder / "compose.yaml").write_text("services: {}\n", encoding="utf-8")
    (folder / "k8s").mkdir(exist_ok=True)
    for path in (folder / "k8s").iterdir():
        path.unlink()
    nothing = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: nothing}\n"
    (folder / "k8s" / "api.yaml").write_text(nothing, encoding="utf-8")


def _pretended_scripts(folder: Path) -> None:
    """Scripts that end with exit code 0 and have written something."""
    for name in ("backup", "restore"):
        path = folder / "scripts" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text('#!/bin/sh\n[ -e "$1" ] || echo "backup of $DATABASE_URL" > "$1"\nexit 0\n', encoding="utf-8")
        path.chmod(0o755)


ANNOUNCED = """
import uuid


async def answer(scope, receive, send):
    if route(scope) == "POST /chat-async":
        task = uuid.uuid4().hex
        told = {"task_id": task, "status": "processing"}
        return await reply(send, told, 202, [("location", f"/chat-status/{task}")])
    if scope["path"].startswith("/chat-status/"):
        return await reply(send, %s)
    await honest(scope, receive, send)
"""

CHEATS = [
    Cheat(
        "says in comments what the deployment files should say",
        7,
        (8,),
        prepare=_as_comments,
        seen_by=(
            check_compose_has_all_four,
            check_image_gives_up_root,
            check_image_tells_its_health,
            check_pipeline_deploys_only_tested_main,
            check_procfile_serves,
        ),
    ),
    Cheat(
        "has every deployment file, and nothing in any of them",
        7,
        (8,),
        prepare=_empty,
        seen_by=(check_compose_has_all_four, check_image_command_runs, check_image_gives_up_root),
    ),
    Cheat(
        "describes no service to Compose and none to Kubernetes, so that nothing about them is wrong",
        7,
        (8,),
        prepare=_harmless,
        seen_by=(check_compose_has_all_four, check_kubernetes_resources, check_kubernetes_scales),
    ),
    Cheat(
        "has scripts for backup and restore that do nothing and end well",
        7,
        (8,),
        prepare=_pretended_scripts,
        seen_by=(check_backup_brings_sqlite_back,),
    ),
    Cheat(
        "accepts every task, and says of each that it is under way, for ever",
        8,
        (9,),
        ANNOUNCED % '{"status": "processing", "result": None}',
        seen_by=(check_tasks_are_private,),
    ),
    Cheat(
        "accepts every task, and says of each that it is complete, with words of its own",
        8,
        (9,),
        ANNOUNCED % '{"status": "complete", "result": {"response": "Done.", "tokens_used": 42, "model": "lab-large"}}',
        seen_by=(check_tasks_are_done,),
    ),
]
