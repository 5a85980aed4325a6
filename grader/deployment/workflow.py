"""Rules: the pipeline that lints, tests, builds, and deploys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from grader.deployment import pipeline, steps
from grader.deployment.located import Map, items, mapping, text, texts
from grader.deployment.pipeline import BRANCH, MAIN, PULL, Event
from grader.deployment.rule import Spot, rule

if TYPE_CHECKING:
    from grader.deployment.tree import Document, Tree

KIND = "workflow"


def _jobs(document: Document) -> list[tuple[str, Map]]:
    return [(name, mapping(job)) for name, job in document.content.map("jobs").items()]


def _steps(job: Map) -> list[Map]:
    return [mapping(step) for step in items(job.get("steps"))]


def _all_steps(tree: Tree) -> Iterator[tuple[Document, str, Map, Map]]:
    for document in tree.workflows:
        for name, job in _jobs(document):
            yield from ((document, name, job, step) for step in _steps(job))


def _found(tree: Tree, pattern: re.Pattern[str]) -> bool:
    if any(steps.does(pattern, step, tree, name=name) for _, name, _, step in _all_steps(tree)):
        return True
    called = [
        (name, text(job.get("uses"))) for document in tree.workflows for name, job in _jobs(document) if job.get("uses")
    ]
    return any(pattern.search(f"make {name} {uses}") for name, uses in called if not uses.startswith("./"))


def _lacking(tree: Tree, pattern: re.Pattern[str], what: str) -> Iterator[Spot]:
    if tree.workflows and not _found(tree, pattern):
        document = tree.workflows[0]
        yield Spot(document.file, document.content.line_of("jobs"), f"No step {what}.")


@rule(
    "workflow-no-lint",
    KIND,
    why="A linter finds in seconds what a reader overlooks: unused and undefined names, a forgotten await.",
    mend="Add a step `ruff check .`.",
)
def workflow_no_lint(tree: Tree) -> Iterator[Spot]:
    """The pipeline lints."""
    yield from _lacking(tree, steps.LINT, "lints the code")


@rule(
    "workflow-no-test",
    KIND,
    why="What is deployed then was tested by nobody but its author.",
    mend="Add a step `pytest`.",
)
def workflow_no_test(tree: Tree) -> Iterator[Spot]:
    """The pipeline runs the tests."""
    yield from _lacking(tree, steps.TEST, "runs the tests")


@rule(
    "workflow-no-build",
    KIND,
    why="That the image can be built is then found out by the deployment.",
    mend="Add a step `docker build .`.",
)
def workflow_no_build(tree: Tree) -> Iterator[Spot]:
    """The pipeline builds."""
    yield from _lacking(tree, steps.BUILD, "builds the image")


_SWALLOWED = re.compile(r"\|\|\s*(?:true|:|exit 0|echo\b)|;\s*(?:true|exit 0)\s*$", re.MULTILINE)


@rule(
    "workflow-failure-swallowed",
    KIND,
    why="The step is green whatever the tests say, so nothing after it can wait for them.",
    mend="Let the command's exit code decide: no `|| true`, no `continue-on-error`; with a pipe, `set -o pipefail`.",
)
def workflow_failure_swallowed(tree: Tree) -> Iterator[Spot]:
    """Failing tests fail the pipeline."""
    for document, _, job, step in _all_steps(tree):
        if not steps.does(steps.TEST, step, tree):
            continue
        for where in (step, job):
            if where.get("continue-on-error") is True:
                yield Spot(
                    document.file, where.line_of("continue-on-error"), "`continue-on-error` lets failing tests pass."
                )
        run = text(step.get("run"))
        if re.search(r"\bset \+e\b", run) or any(
            steps.TEST.search(line) and _SWALLOWED.search(line) for line in run.splitlines()
        ):
            yield Spot(document.file, step.line_of("run"), "The command throws the tests' exit code away.")
        elif _piped(run) and not _pipefail(document.content, job, step):
            yield Spot(document.file, step.line_of("run"), "The pipe's last command decides, not the tests.")


def _piped(run: str) -> bool:
    return any(re.search(r"[^|]\|[^|&]", line) and steps.TEST.search(line.split("|")[0]) for line in run.splitlines())


def _pipefail(workflow: Map, job: Map, step: Map) -> bool:
    """Whether a failing command within a pipe fails the step: GitHub sets pipefail only for a written `shell: bash`."""
    written = [
        text(step.get("shell")),
        text(job.at("defaults", "run", "shell")),
        text(workflow.at("defaults", "run", "shell")),
    ]
    shell = next((each for each in written if each), "")
    return shell == "bash" or "pipefail" in shell or "pipefail" in text(step.get("run"))


def _runs_after(tree: Tree) -> list[tuple[Event, Event]]:
    """Return, for each workflow that others may wait for, its end on another branch, and its failing on main."""
    names = [(text(document.content.get("name")) or document.file) for document in tree.workflows]
    return [
        (
            Event(f"a run of `{name}` on another branch", "workflow_run", "fix-42", "success", name),
            Event(f"a failed run of `{name}` on main", "workflow_run", "main", "failure", name),
        )
        for name in names
    ]


@rule(
    "deploys-from-elsewhere",
    KIND,
    why="Whatever somebody pushes to any branch goes live, reviewed or not, and two branches take turns in production.",
    mend="Give the job `if: github.ref == 'refs/heads/main' && github.event_name == 'push'`.",
)
def deploys_from_elsewhere(tree: Tree) -> Iterator[Spot]:
    """Only main is deployed."""
    events = [BRANCH, PULL, *(elsewhere for elsewhere, _ in _runs_after(tree))]
    for document in tree.workflows:
        for event in events:
            if pipeline.starts(document.content, event):
                for step in pipeline.play(document, event, tree).deployed:
                    yield Spot(document.file, step.line, f"{event.title[0].upper()}{event.title[1:]} deploys.")


@rule(
    "deploys-untested",
    KIND,
    why="Jobs run side by side unless told otherwise: a broken service is live before its tests have failed.",
    mend="Give the deploying job `needs: [lint, test, build]`, and no `if: always()`.",
)
def deploys_untested(tree: Tree) -> Iterator[Spot]:
    """Nothing is deployed before its tests have passed."""
    if not _found(tree, steps.TEST):
        return
    events = [MAIN, *(failed for _, failed in _runs_after(tree) if _tests(tree, failed.workflow))]
    for document in tree.workflows:
        for event in events:
            if pipeline.starts(document.content, event) and not _tested_elsewhere(document, event):
                for step in pipeline.play(document, event, tree, tests_pass=False).deployed:
                    yield Spot(document.file, step.line, f"With {event.title}, this deploys although the tests fail.")


def _tests(tree: Tree, name: str) -> bool:
    return any(
        steps.does(steps.TEST, step, tree, name=job)
        for document, job, _, step in _all_steps(tree)
        if name in {text(document.content.get("name")), document.file}
    )


def _tested_elsewhere(document: Document, event: Event) -> bool:
    """Whether a job that calls a workflow of another repository may do the testing: nobody can say from here."""
    outside = [job for _, job in _jobs(document) if job.get("uses") and not text(job.get("uses")).startswith("./")]
    return bool(outside) and event.name == "push"


@rule(
    "workflow-no-deploy",
    KIND,
    why="A deployment by hand differs each time; one by the platform does not wait for these tests unless told to.",
    mend="Add a job that deploys after the others, or let the platform wait for the checks.",
    advice=True,
)
def workflow_no_deploy(tree: Tree) -> Iterator[Spot]:
    """The pipeline deploys."""
    if tree.workflows and not any(pipeline.deploys(step, name, tree) for _, name, _, step in _all_steps(tree)):
        yield Spot(tree.workflows[0].file, None, "No step deploys.")


@rule(
    "workflow-permissions",
    KIND,
    why="Without it each job's token has whatever the repository's default gives, often the right to write.",
    mend="Write `permissions: {contents: read}` at the top, and more only for the job that needs it.",
    advice=True,
)
def workflow_permissions(tree: Tree) -> Iterator[Spot]:
    """The workflow's token has the least rights."""
    for document in tree.workflows:
        if "permissions" not in document.content and not all("permissions" in job for _, job in _jobs(document)):
            yield Spot(document.file, document.content.line, "No `permissions` are set.")


@rule(
    "workflow-unpinned-action",
    KIND,
    why="A tag can be moved to other code, which then runs with this repository's secrets.",
    mend="Name the commit: `uses: actions/checkout@<40 hex digits> # v6`.",
    advice=True,
)
def workflow_unpinned_action(tree: Tree) -> Iterator[Spot]:
    """Actions are pinned to a commit."""
    for document, _, _, step in _all_steps(tree):
        uses = text(step.get("uses"))
        if uses and not uses.startswith(("./", "docker://")) and not re.search(r"@[0-9a-f]{40}$", uses):
            yield Spot(document.file, step.line_of("uses"), f"`{uses}` is not pinned to a commit.")


@rule(
    "workflow-injection",
    KIND,
    why="GitHub puts the text in before the shell reads the line: a pull request's title can then be a command.",
    mend='Hand it over as a variable: `env: {TITLE: ${{ … }}}`, and use "$TITLE".',
    advice=True,
)
def workflow_injection(tree: Tree) -> Iterator[Spot]:
    """Nothing that a stranger wrote becomes part of a command."""
    risky = re.compile(
        r"\$\{\{[^}]*github\.(?:head_ref|event\.(?:issue|pull_request|comment|review|head_commit|commits)\b[^}]*(?:title|body|message|name|ref|label))"
    )
    for document, _, _, step in _all_steps(tree):
        if risky.search(text(step.get("run"))):
            yield Spot(document.file, step.line_of("run"), "The command contains text from outside.")


@rule(
    "workflow-pull-request-target",
    KIND,
    why="It runs with the repository's secrets, for anyone who opens a pull request.",
    mend="Use `pull_request`.",
    advice=True,
)
def workflow_pull_request_target(tree: Tree) -> Iterator[Spot]:
    """Strangers' pull requests get no secrets."""
    for document in tree.workflows:
        triggers = document.content.get("on")
        names = list(triggers) if isinstance(triggers, Map) else texts(triggers)
        if "pull_request_target" in names:
            yield Spot(document.file, document.content.line_of("on"), "The workflow runs on `pull_request_target`.")
