"""A workflow, played through for an event: what runs, and what is deployed, when the tests pass or fail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from grader.deployment import steps
from grader.deployment.expressions import UNKNOWN, Function, Result, evaluate, glob, has_status, truth
from grader.deployment.located import Map, items, mapping, text, texts

if TYPE_CHECKING:
    from grader.deployment.tree import Document, Tree

_DEEPEST = 4


@dataclass(frozen=True)
class Event:
    """Something that starts workflows; `title` is how a finding tells it."""

    title: str
    name: str
    branch: str
    conclusion: str = ""
    workflow: str = ""

    @property
    def github(self) -> Mapping[str, Result]:
        """The `github` context, as far as the event decides it."""
        pull = self.name == "pull_request"
        ref = "refs/pull/7/merge" if pull else f"refs/heads/{'main' if self.name == 'workflow_run' else self.branch}"
        run: Result = {
            "conclusion": self.conclusion,
            "head_branch": self.branch,
            "event": "push",
            "name": self.workflow,
            "*": UNKNOWN,
        }
        repository: Result = {"default_branch": "main", "*": UNKNOWN}
        return {
            "event_name": self.name,
            "ref": ref,
            "ref_name": "7/merge" if pull else ref.removeprefix("refs/heads/"),
            "ref_type": "branch",
            "base_ref": "main" if pull else "",
            "head_ref": self.branch if pull else "",
            "event": {
                "repository": repository,
                "workflow_run": run if self.name == "workflow_run" else None,
                "pull_request": {"merged": False, "draft": False, "base": {"ref": "main", "*": UNKNOWN}, "*": UNKNOWN}
                if pull
                else None,
                "action": "opened" if pull else None,
                "*": UNKNOWN,
            },
            "*": UNKNOWN,
        }


MAIN = Event("a push to main", "push", "main")
BRANCH = Event("a push to another branch", "push", "fix-42")
PULL = Event("a pull request", "pull_request", "fix-42")


def starts(workflow: Map, event: Event) -> bool:
    """Whether the event starts the workflow, by its `on`."""
    triggers = workflow.get("on")
    if not isinstance(triggers, Map):
        return event.name in texts(triggers)
    if event.name not in triggers:
        return False
    trigger = triggers.map(event.name)
    if (
        event.name == "workflow_run"
        and texts(trigger.get("workflows"))
        and event.workflow not in texts(trigger.get("workflows"))
    ):
        return False
    types = texts(trigger.get("types"))
    if (
        event.name == "pull_request"
        and types
        and not {"opened", "synchronize", "reopened", "ready_for_review"} & set(types)
    ):
        return False
    return _branch_matches(trigger, "main" if event.name == "pull_request" else event.branch)


def _branch_matches(trigger: Map, branch: str) -> bool:
    wanted, unwanted = texts(trigger.get("branches")), texts(trigger.get("branches-ignore"))
    if not wanted and not unwanted:
        return not texts(trigger.get("tags"))
    if unwanted:
        return not any(glob(pattern, branch) for pattern in unwanted)
    matched = False
    for pattern in wanted:
        if glob(pattern.removeprefix("!"), branch):
            matched = not pattern.startswith("!")
    return matched


@dataclass
class Run:
    """What happened: results of jobs (None: not known whether it ran), and the steps that deployed for certain."""

    results: dict[str, str | None] = field(default_factory=dict)
    deployed: list[Map] = field(default_factory=list)
    tested: bool = False


def play(document: Document, event: Event, tree: Tree, *, tests_pass: bool = True) -> Run:
    """Play the workflow through for an event that starts it."""
    return _Player(tree, event, tests_pass=tests_pass).workflow(document.content, 0)


class _Player:
    def __init__(self, tree: Tree, event: Event, *, tests_pass: bool) -> None:
        self.tree, self.event, self.tests_pass = tree, event, tests_pass

    def workflow(self, content: Map, depth: int) -> Run:
        run = Run()
        jobs = {name: mapping(job) for name, job in content.map("jobs").items()}
        waiting = list(jobs)
        while waiting:
            ready = [name for name in waiting if not set(texts(jobs[name].get("needs"))) & set(waiting)]
            for name in ready or waiting[:1]:
                waiting.remove(name)
                run.results[name] = self.job(name, jobs, run, depth)
        return run

    def job(self, name: str, jobs: dict[str, Map], run: Run, depth: int) -> str | None:
        job = jobs[name]
        needs = {need: run.results.get(need) for need in texts(job.get("needs"))}
        before = [run.results.get(need) for need in _ancestors(name, jobs)]
        goes = self.holds(text(job.get("if")), list(needs.values()), before, needs)
        if goes is False:
            return "skipped"
        inner = Run()
        outcome = self.called(job, inner, depth) if job.get("uses") else self.steps(name, job, inner)
        run.tested = run.tested or inner.tested
        if goes:
            run.deployed += inner.deployed
        return outcome if goes else None

    def holds(
        self, condition: str, needs: list[str | None], before: list[str | None], named: Mapping[str, Result]
    ) -> bool | None:
        """Whether a job or step with this `if` runs; None: not known."""
        functions: dict[str, Function] = {
            "success": lambda _: _three(needs, "success"),
            "failure": lambda _: _any_failed(before),
            "always": lambda _: True,
            "cancelled": lambda _: False,
        }
        contexts: dict[str, Result] = {
            "github": self.event.github,
            "needs": {
                name: {"result": UNKNOWN if result is None else result, "*": UNKNOWN} for name, result in named.items()
            },
        }
        value = truth(evaluate(condition, contexts, functions)) if condition else True
        if has_status(condition) or value is False:
            return value
        passed = _three(needs, "success")
        if passed is False:
            return False
        return True if value and passed is True else None

    def steps(self, name: str, job: Map, inner: Run) -> str:
        failed = False
        place = f"{text(job.get('environment')) or text(job.at('environment', 'name'))} {name}"
        for step in (mapping(item) for item in items(job.get("steps"))):
            state = ["failure" if failed else "success"]
            goes = self.holds(text(step.get("if")), list(state), list(state), {})
            if goes is False:
                continue
            if steps.does(steps.TEST, step, self.tree, name=name) and not steps.does(steps.DEPLOY, step, self.tree):
                inner.tested = True
                failed = failed or (not self.tests_pass and goes is True)
            if goes and deploys(step, place, self.tree):
                inner.deployed.append(step)
        return "failure" if failed else "success"

    def called(self, job: Map, inner: Run, depth: int) -> str | None:
        """Play a reusable workflow of this repository through; one of another is taken to do what its job is named."""
        uses = text(job.get("uses"))
        name = uses.removeprefix("./")
        if not uses.startswith("./") or self.tree.text(name) is None or depth >= _DEEPEST:
            return "success"
        for content in self.tree.documents("workflow", name)[:1]:
            below = self.workflow(mapping(content), depth + 1)
            inner.deployed += below.deployed
            inner.tested = below.tested
            return "failure" if "failure" in below.results.values() else "success"
        return "success"


def deploys(step: Map, place: str, tree: Tree) -> bool:
    """Whether a step deploys the service (not a preview, not documentation); `place` is its job and environment."""
    if not steps.does(steps.DEPLOY, step, tree):
        titled = re.search(r"\bdeploy\b", place.lower()) and not steps.is_stub(step) and not text(step.get("uses"))
        if not titled or steps.does(steps.TEST, step, tree) or steps.does(steps.LINT, step, tree):
            return False
    return not steps.aims_elsewhere(place, text(step.get("name")))


def _ancestors(name: str, jobs: dict[str, Map]) -> list[str]:
    found: list[str] = []
    waiting = texts(jobs[name].get("needs"))
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.append(current)
            waiting += texts(jobs[current].get("needs")) if current in jobs else []
    return found


def _three(results: list[str | None], wanted: str) -> Result:
    if any(result not in {wanted, None} for result in results):
        return False
    return UNKNOWN if None in results else True


def _any_failed(results: list[str | None]) -> Result:
    if "failure" in results:
        return True
    return UNKNOWN if None in results else False
