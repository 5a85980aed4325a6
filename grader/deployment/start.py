"""Rules: how the image, the Procfile and Railway start the service, and how the image says that it is well."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from grader.deployment import launch
from grader.deployment.image import Image
from grader.deployment.instructions import Instruction
from grader.deployment.launch import Launch
from grader.deployment.rule import Spot, rule

if TYPE_CHECKING:
    from grader.deployment.tree import Tree

KIND = "Dockerfile"


def start_step(image: Image) -> Instruction | None:
    """Return the instruction that decides what is PID 1."""
    return image.entrypoint or image.command


def image_launch(tree: Tree) -> Launch | None:
    """Return what the image starts: ENTRYPOINT with CMD as its arguments, or CMD; None when it has neither."""
    image = tree.image
    step = start_step(image) if image else None
    if image is None or step is None:
        return None
    environment = {name: setting.value.text for name, setting in image.settings.items()}
    if step.words is None:
        return launch.of_script(step.text, read=tree.find, environment=environment, program=_default_shell(image))
    given = image.command if step is image.entrypoint else None
    after = () if given is None else (given.words if given.words is not None else ("/bin/sh", "-c", given.text))
    return launch.of_words((*step.words, *after), read=tree.find, environment=environment)


def _default_shell(image: Image) -> str:
    shells = image.stage.history("SHELL")
    words = shells[-1].words if shells else None
    return words[0].rsplit("/", 1)[-1] if words else "sh"


@rule(
    "start-missing",
    KIND,
    why="The container then starts what its base image starts (Python's prompt), and ends at once.",
    mend='Add CMD ["sh", "-c", "exec uvicorn app.main:app --host 0.0.0.0 --port ${PORT:-8000}"].',
)
def start_missing(tree: Tree) -> Iterator[Spot]:
    """The image says what it starts."""
    if tree.image and start_step(tree.image) is None:
        yield Spot("Dockerfile", tree.image.stage.line, "The last stage has neither CMD nor ENTRYPOINT.")


@rule(
    "start-not-json",
    KIND,
    why="A list that is not JSON is taken for a shell line, and the shell looks for a program named `[`.",
    mend='Write the list as JSON: double quotes, commas, no comma at the end: CMD ["uvicorn", "app.main:app"].',
)
def start_not_json(tree: Tree) -> Iterator[Spot]:
    """A start in list form is valid JSON."""
    for step in _steps(tree):
        if step.words is None and step.text.startswith("["):
            yield Spot("Dockerfile", step.line, f"`{step.keyword} {step.text[:60]}` is not JSON.")


def _steps(tree: Tree) -> list[Instruction]:
    image = tree.image
    return [step for step in (image.entrypoint, image.command) if step] if image else []


@rule(
    "start-in-shell",
    KIND,
    why="`CMD uvicorn …` runs as `/bin/sh -c`: the shell is process 1 and keeps SIGTERM to itself; ten seconds later "
    "every open request is cut by SIGKILL.",
    mend='Use the list form, CMD ["…", "…"]; where $PORT needs a shell, ["sh", "-c", "exec uvicorn …"].',
)
def start_in_shell(tree: Tree) -> Iterator[Spot]:
    """The image starts the server in exec form."""
    step = start_step(tree.image) if tree.image else None
    started = image_launch(tree)
    if step is not None and step.words is None and started and not step.text.startswith("["):
        unsure = started.signalled is True
        yield Spot("Dockerfile", step.line, f"`{step.keyword} {step.text[:60]}` is in shell form.", unsure)


@rule(
    "start-loses-sigterm",
    KIND,
    why="The shell stays in front of the server and does not pass SIGTERM on: each deployment waits ten seconds, then "
    "cuts every request.",
    mend='Put `exec` before the last command: ["sh", "-c", "exec uvicorn …"], or `exec "$@"` at the end of the script.',
)
def start_loses_sigterm(tree: Tree) -> Iterator[Spot]:
    """SIGTERM reaches the server."""
    step = start_step(tree.image) if tree.image else None
    started = image_launch(tree)
    if tree.image is None or step is None or started is None:
        return
    if step.words is not None and started.signalled is False:
        yield Spot("Dockerfile", step.line, f"`{step.keyword} {step.text[:70]}` leaves a shell in front of the server.")
    signal = tree.image.stop_signal
    if signal is not None and signal.text.upper() in {"SIGKILL", "KILL", "9"}:
        yield Spot("Dockerfile", signal.line, f"STOPSIGNAL {signal.text} cannot be caught.")


@rule(
    "start-on-loopback",
    KIND,
    why="127.0.0.1 is the container's own: its health check passes, yet nobody outside ever gets an answer.",
    mend="Add `--host 0.0.0.0`.",
)
def start_on_loopback(tree: Tree) -> Iterator[Spot]:
    """The server in the image listens on every address."""
    started = image_launch(tree)
    if started and started.everywhere is False:
        yield _spot(tree, f"{started.server} listens on 127.0.0.1 only.")


@rule(
    "start-ignores-port",
    KIND,
    why="Heroku, Railway, Cloud Run and the like choose the port and tell it in $PORT; elsewhere they find nobody.",
    mend='Take it from the environment: ["sh", "-c", "exec uvicorn … --port ${PORT:-8000}"].',
)
def start_ignores_port(tree: Tree) -> Iterator[Spot]:
    """The server in the image listens on $PORT."""
    started = image_launch(tree)
    if started and started.honours_port is False:
        yield _spot(tree, f"{started.server}'s port is fixed.")


@rule(
    "start-port-unexpanded",
    KIND,
    why="The list form starts no shell, so nothing puts the value in: the server is told the port `$PORT`, and stops.",
    mend='Let a shell expand it and give way: ["sh", "-c", "exec uvicorn … --port ${PORT:-8000}"].',
)
def start_port_unexpanded(tree: Tree) -> Iterator[Spot]:
    """Variables of the start command are expanded by somebody."""
    started = image_launch(tree)
    if started and started.unexpanded:
        yield _spot(tree, "A variable stands in the list form, where nothing expands it.")


def _spot(tree: Tree, what: str) -> Spot:
    step = tree.image and (tree.image.command or start_step(tree.image))
    return Spot("Dockerfile", step.line if step else None, what)


@rule(
    "start-app-missing",
    KIND,
    why="The server ends at once with an import error.",
    mend="Name the application as it lies in the folder: `app.main:app` is `app` in app/main.py.",
)
def start_app_missing(tree: Tree) -> Iterator[Spot]:
    """The application that the image starts is in the service's folder."""
    started = image_launch(tree)
    missing = started and missing_module(tree, started, image=tree.image)
    if missing:
        yield _spot(tree, f"There is no module {missing} in this folder.")


def missing_module(tree: Tree, started: Launch, *, image: Image | None = None) -> str | None:
    """Return the module of a start command when no file of the service could be it; `image` may have moved files."""
    if started.application is None or not tree.files:
        return None
    top = started.application.split(".")[0]
    code = [name for name in tree.files if name.endswith(".py")]
    moved = any(word.startswith(("--app-dir", "--chdir", "--working-dir")) for word in started.words)
    if moved or (image is not None and moves_code(tree, image)):
        known = {part.removesuffix(".py") for name in code for part in name.split("/")}
    else:
        inside = [name.removeprefix("src/") for name in code] if tree.text("pyproject.toml") else []
        known = {name.split("/")[0].removesuffix(".py") for name in [*code, *inside]}
    return None if top in known else top


def moves_code(tree: Tree, image: Image) -> bool:
    """Whether the image has its modules elsewhere than the folder: by PYTHONPATH, WORKDIR, or a copied folder."""
    if "PYTHONPATH" in image.settings or len(image.stage.history("WORKDIR")) > 1:
        return True
    for copy in tree.copies:
        target = copy.step.arguments[-1].rstrip("/").rsplit("/", 1)[-1]
        for source in copy.sources:
            folder = any(name.startswith(f"{source}/") for name in tree.files)
            if source and folder and target != source.rsplit("/", 1)[-1]:
                return True
    return False


@rule(
    "no-healthcheck",
    KIND,
    why="The engine then sees only that a process exists: one that hangs stays in service, and nobody can wait for it.",
    mend="Add a HEALTHCHECK that asks /livez.",
)
def no_healthcheck(tree: Tree) -> Iterator[Spot]:
    """The image has a HEALTHCHECK."""
    image = tree.image
    step = image.healthcheck if image else None
    if image and (step is None or step.text.upper() == "NONE"):
        yield Spot("Dockerfile", step.line if step else image.stage.line, "The image has no HEALTHCHECK.")


@rule(
    "healthcheck-elsewhere",
    KIND,
    why="/livez alone says whether the process is alive; /health and /readyz also fail when a neighbour is away, and a "
    "restart of this container mends no neighbour.",
    mend="Let the HEALTHCHECK ask /livez.",
)
def healthcheck_elsewhere(tree: Tree) -> Iterator[Spot]:
    """The HEALTHCHECK asks /livez."""
    step = _probe(tree)
    if step is None:
        return
    seen = _probe_text(tree, step)
    if "/livez" not in seen and "livez" not in seen:
        path = re.search(r"https?://[^/\s'\"]+(/[\w/-]*)?", seen)
        what = f"The HEALTHCHECK asks {path[1] or '/'}, not /livez." if path else "The HEALTHCHECK does not ask /livez."
        unsure = path is None and not re.search(r"\btrue\b|\bpgrep\b|\bpidof\b|\bps\b|exit 0", step.text)
        yield Spot("Dockerfile", step.line, what, unsure)


def _probe(tree: Tree) -> Instruction | None:
    step = tree.image.healthcheck if tree.image else None
    return None if step is None or step.text.upper() == "NONE" else step


def _probe_text(tree: Tree, step: Instruction) -> str:
    """Return the check's own words and the scripts it runs."""
    words = step.words or tuple(step.text.split())
    modules = [word.replace(".", "/") + ".py" for word in words if re.fullmatch(r"[a-z_][\w.]*", word)]
    files = [tree.find(word) for word in [*words, *modules] if "/" in word or "." in word]
    image = tree.image
    values = " ".join(setting.value.text for setting in image.settings.values()) if image and "$" in step.text else ""
    return " ".join([step.text, values, *(text for text in files if text)])


@rule(
    "healthcheck-without-tool",
    KIND,
    why="The image has no such program, so the check fails for ever and the container is `unhealthy` while it serves.",
    mend='Ask with Python, which is there: HEALTHCHECK CMD ["python", "-c", "import urllib.request as r; r.urlopen(\'http://127.0.0.1:8000/livez\')"].',
)
def healthcheck_without_tool(tree: Tree) -> Iterator[Spot]:
    """The HEALTHCHECK uses a program that the image has."""
    step = _probe(tree)
    image = tree.image
    if step is None or image is None:
        return
    lacking = (
        {"curl", "wget"} if re.search(r"^python:[\w.]*-?slim", image.base) or "distroless" in image.base else set[str]()
    )
    lacking |= {"curl"} if re.search(r"^python:[\w.-]*alpine", image.base) else set()
    installed = " ".join(each.script for each in image.stage.history("RUN", "COPY", "ADD"))
    for tool in sorted(lacking):
        if re.search(rf"(?:^|[\s\"'/]){tool}\b", step.text) and tool not in installed:
            yield Spot("Dockerfile", step.line, f"The HEALTHCHECK runs {tool}, which {image.base} does not have.")


@rule(
    "healthcheck-fixed-port",
    KIND,
    why="On a platform that gives another $PORT the check asks nobody.",
    mend="Let the check read PORT from the environment too.",
    advice=True,
)
def healthcheck_fixed_port(tree: Tree) -> Iterator[Spot]:
    """The HEALTHCHECK asks the port that the server was given."""
    step = _probe(tree)
    started = image_launch(tree)
    if step and started and started.honours_port and re.search(r":\d{2,5}/", step.text) and "PORT" not in step.text:
        yield Spot("Dockerfile", step.line, "The HEALTHCHECK asks a fixed port, while the server follows $PORT.")


@rule(
    "development-server",
    KIND,
    why="The reloader watches files, restarts in mid-request, and stands between the engine and the server.",
    mend="Leave `--reload` to your own machine.",
    advice=True,
)
def development_server(tree: Tree) -> Iterator[Spot]:
    """The image does not start the server in development mode."""
    started = image_launch(tree)
    if started and ("--reload" in started.words or started.words[:2] == ("fastapi", "dev")):
        yield _spot(tree, "The image starts the server with its reloader.")
