"""What a workflow's step does: lint, test, build, deploy. Its commands say it, its name only as a last resort."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from grader.deployment.located import Map, items, mapping, text
from grader.deployment.shell import base, commands

if TYPE_CHECKING:
    from grader.deployment.tree import Tree

_TASK = (
    r"(?:make|just|task|npm(?: run)?|yarn|pnpm|invoke|inv|nox(?: -s)?|tox(?: -e)?|poe|bash \S*|sh \S*|\./\S*"
    r"|(?:hatch|pdm|poetry|uv|rye|pixi) run)[ -:/]?\S*"
)


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


LINT = _any(
    r"\b(?:ruff|flake8|pylint|pyflakes|pycodestyle|black --check|mypy|pyright|prospector|pre-commit)\b",
    r"\b(?:super-linter|megalinter|trunk check|ruff-action|lint)\b",
    rf"{_TASK}lint",
)
TEST = _any(
    r"\b(?:pytest|py\.test|unittest|nose2|behave|robot|hatch test|coverage run|grade)\b",
    r"\b(?:tox|nox)\b(?! -[es] ?lint)",
    r"manage\.py test",
    rf"{_TASK}tests?\b",
)
BUILD = _any(
    r"\bdocker (?:buildx )?(?:build|bake)\b",
    r"\bdocker[ -]compose\b[^\n]*\b(?:build|--build)\b",
    r"docker/(?:build-push|bake)-action|(?:build-push|buildah-build|kaniko)[\w-]*action",
    r"\b(?:podman|buildah|nixpacks|railpack|pack|depot|skaffold|earthly|ko) (?:build|bud)\b|kaniko",
    r"\bpython3? -m build\b|\b(?:uv|hatch|poetry|pdm|flit) build\b",
    r"\bgcloud builds submit\b|\baz acr build\b|\bheroku container:push\b",
    rf"{_TASK}(?:build|image)\b",
)
DEPLOY = _any(
    r"\brailway (?:up|redeploy|deploy)\b",
    r"\bheroku (?:container:release|builds:create)\b|\bgit push[^\n]*(?:heroku|dokku)\b|\bcaprover deploy\b",
    r"\bkubectl\b[^\n]*\b(?:apply|rollout|set image|replace|create -f|patch)\b|\bargocd app sync\b",
    r"\bhelm\b[^\n]*\b(?:upgrade|install)\b|\bterraform apply\b|\bansible-playbook\b",
    r"\beb deploy\b|\baws (?:ecs update-service|deploy|elasticbeanstalk update|lambda update|cloudformation deploy)",
    r"\bfly(?:ctl)? deploy\b|\bgcloud (?:run|app) deploy\b|\baz (?:webapp|containerapp) (?:up|deploy|update)",
    r"\bdocker stack deploy\b|\bkamal deploy\b|\brender deploys\b",
    r"\bssh\b[^\n]*\b(?:docker|systemctl|deploy|compose)\b",
    r"heroku-deploy|beanstalk-deploy|flyctl-actions|deploy-cloudrun|webapps-deploy|amazon-ecs-deploy|railway-deploy",
    r"k8s-deploy|helm-deploy|container-apps-deploy",
    rf"{_TASK}deploy\b",
)
_STUB = re.compile(r"(?:\s*(?:echo\b[^\n]*|true|:|exit 0|#[^\n]*)?(?:\n|$))*")
_PLAIN = frozenset(
    [
        "apt",
        "apt-get",
        "cat",
        "cd",
        "cp",
        "curl",
        "docker",
        "echo",
        "exit",
        "export",
        "git",
        "kubectl",
        "ls",
        "mkdir",
        "mv",
        "npm",
        "pip",
        "poetry",
        "printf",
        "python",
        "python3",
        "rm",
        "set",
        "sleep",
        "source",
        "sudo",
        "test",
        "true",
        "uv",
    ],
)
_COMMON = re.compile(
    r"actions/(?:checkout|setup-|cache|upload|download|github-script)|setup-(?:uv|buildx)|login-action"
)
_IDLE = re.compile(
    r"\b(?:(?:pip3?|pipx|uv pip|uv tool|apt(?:-get)?|npm|conda)\s+(?:install\b|-)|(?:uv|poetry|pdm) add\b)[^&|;\n]*"
    r"|\b[\w-]+ (?:--version|--help)\b|(?:^|[&|;])\s*(?:echo|#)[^\n&|;]*",
    re.MULTILINE,
)
_DRY = re.compile(r"--dry-run(?!=none)|\bterraform plan\b|\bhelm (?:lint|template|diff)\b|\bdiff\b")
_ELSEWHERE = re.compile(
    r"\b(?:kind|minikube|k3d|kwok|preview|review|staging|stage|sandbox|docs?|pages|dev|development|test|qa)\b",
    re.IGNORECASE,
)
_CALLED = re.compile(
    r"(?:^|[\s;&|])(?:bash |sh |python3? )?\.?/?((?:scripts|bin|ci|\.ci|tools|\.github)/[\w./-]+|[\w-]+\.(?:sh|py))"
)
_TARGET = re.compile(r"\bmake\b((?:\s+[\w.-]+)+)")


def does(pattern: re.Pattern[str], step: Map, tree: Tree, *, name: str = "") -> bool:
    """Whether a step does what the pattern finds: by its commands, the scripts they call, its action, its name."""
    said = spelled(step, tree)
    if pattern.search(
        "\n".join(line for line in said.splitlines() if not _DRY.search(line)) if pattern is DEPLOY else said
    ):
        return True
    titled = f"{text(step.get('name'))} {text(step.get('id'))} {name}".lower()
    if not said.strip(" &|;\n") or not _named(pattern).search(titled) or _DRY.search(said):
        return False
    return not is_stub(step) if pattern is DEPLOY else not (is_stub(step) or _is_plain(step))


def _named(pattern: re.Pattern[str]) -> re.Pattern[str]:
    words = {
        LINT: r"\blint",
        TEST: r"\b(?:unit|integration)?[ -]?tests?\b",
        BUILD: r"\bbuild",
        DEPLOY: r"\b(?:deploy|roll ?out)",
    }
    return re.compile(words[pattern])


def _is_plain(step: Map) -> bool:
    """Whether a step's commands are all well known, so that its name adds nothing to what they say."""
    found = commands(text(step.get("run")))
    return bool(found) and all(command.words[:1] and base(command.words[0]) in _PLAIN for command in found)


def is_stub(step: Map) -> bool:
    """Whether a step only prints something or is empty, or is one that every job has."""
    uses = text(step.get("uses"))
    if uses:
        return bool(
            re.search(
                r"actions/(?:checkout|setup-|cache|upload|download|github-script)|setup-uv|login-action|setup-buildx",
                uses,
            )
        )
    return bool(_STUB.fullmatch(text(step.get("run"))))


def spelled(step: Map, tree: Tree) -> str:
    """Return a step's commands, with the make targets, scripts and local actions that they call written out.

    What only installs a program, or asks for its version, is left out: it runs nothing.
    """
    run, uses = text(step.get("run")), text(step.get("uses"))
    parts = [run, uses]
    parts += [tree.text(name) or "" for name in _CALLED.findall(run)]
    for targets in _TARGET.findall(run):
        parts += [_recipe(target, tree.text("Makefile") or "") for target in targets.split()]
    if uses.startswith("./") and not uses.endswith((".yml", ".yaml")):
        parts += _action(uses[2:].strip("/"), tree)
    return _IDLE.sub("", "\n".join(part for part in parts if part))


def _recipe(target: str, makefile: str) -> str:
    found = re.search(rf"^{re.escape(target)}\s*:[^\n]*\n((?:\t[^\n]*\n?)*)", makefile, re.MULTILINE)
    return found[1] if found else ""


def _action(folder: str, tree: Tree) -> list[str]:
    name = tree.first((f"{folder}/action.yml", f"{folder}/action.yaml"))
    contents = [mapping(each) for each in (tree.documents("workflow", name) if name else [])]
    return [text(mapping(step).get("run")) for each in contents for step in items(each.at("runs", "steps"))]


def aims_elsewhere(*names: str) -> bool:
    """Whether a deployment says that it is not the production's: a preview, documentation, a test cluster."""
    return any(_ELSEWHERE.search(name) for name in names)
