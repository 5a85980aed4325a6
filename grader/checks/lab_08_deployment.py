"""Deployment."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from grader import Api, Bench, Broken, Caller, Lab, Provider, Skip, Stack, check, demand, expect
from grader.deployment import RULES, Finding, Tree, inspect, runnable
from grader.deployment.engine import Container, EngineError, NoNetworkError, find_engine
from grader.deployment.procfile import web_line
from grader.deployment.runnable import NotRunnableError
from grader.deployment.second_opinion import opinions
from grader.patience import Stopwatch
from grader.settings import Settings

lab = Lab(minutes=75)

STOP_LIMIT = 10.0
SHOWN = 4

# -- the files, by rules ----


@lru_cache(maxsize=8)
def findings(root: Path) -> tuple[Finding, ...]:
    """What the rules find in a folder; it does not change during a run."""
    return tuple(inspect(root))


def obey(services: Bench, note: Callable[[str], None], *names: str) -> None:
    """Break the promise with what these rules find, and note the advice of their kinds.

    A file that is missing or cannot be read breaks every rule about it.
    """
    kinds = {RULES[name].kind for name in names}
    found = [finding for finding in findings(services.submission.root) if finding.kind in kinds]
    bad = [each for each in found if not each.advice and (each.rule in names or _about_the_file(each))]
    for each in [each for each in found if each.advice and each.rule in names]:
        note(f"Advice: {each.sentence}")
    if bad:
        more = f"\n… and {len(bad) - SHOWN} more." if len(bad) > SHOWN else ""
        raise Broken("\n".join(each.sentence for each in bad[:SHOWN]) + more)


def _about_the_file(finding: Finding) -> bool:
    return finding.rule in {f"{finding.kind.lower().strip('.')}-{trouble}" for trouble in ("missing", "unreadable")}


@check(
    points=2,
    hints=[
        "Which lines of the Dockerfile run again when you change one character of app/main.py?",
        "A layer is reused when the instruction and the files it copies are the same, and all layers before it were.",
        "FROM python:3.13-slim; COPY requirements.txt first, RUN pip install, and the code after that.",
    ],
)
def check_image_is_reproducible(services: Bench, note: Callable[[str], None]) -> None:
    """The image has a pinned base, and installs the dependencies before the package is copied."""
    obey(services, note, "base-unpinned", "code-before-dependencies")


@check(
    points=2,
    hints=[
        "Who is the process when nobody says so?",
        "USER 10001:10001 near the end; a folder to write to, made before that and given to that user.",
    ],
)
def check_image_gives_up_root(services: Bench, note: Callable[[str], None]) -> None:
    """The image's process does not run as root."""
    obey(services, note, "runs-as-root")


@check(
    points=2,
    hints=[
        "What does `COPY . .` copy? List the folder with `ls -a`.",
        ".dockerignore is written like .gitignore; one way is to leave out everything and take back what is needed.",
        "Values are given when the container starts; ENV and ARG are for what everybody may know.",
    ],
)
def check_image_keeps_no_secret(services: Bench, note: Callable[[str], None]) -> None:
    """No secret gets into the image: not by ENV, not by ARG, not by a copied file."""
    obey(services, note, "secret-in-image", "secret-argument", "secret-copied", "env-in-image", "git-in-image")


@check(
    points=1,
    hints=[
        "The engine asks, the image says how: HEALTHCHECK CMD.",
        "The slim image has no curl; it has Python, and urllib.request raises for every status but 200.",
        "Ask /livez: a check that fails with the database gets a process restarted that is well.",
    ],
)
def check_image_tells_its_health(services: Bench, note: Callable[[str], None]) -> None:
    """The image has a HEALTHCHECK that asks /livez and can work."""
    obey(
        services, note, "no-healthcheck", "healthcheck-elsewhere", "healthcheck-without-tool", "healthcheck-fixed-port"
    )


@check(
    points=2,
    hints=[
        "Which process is number 1 in the container, and what does it do with SIGTERM?",
        'CMD ["…", "…"] starts no shell, CMD … does. Only a shell knows $PORT.',
        'Both at once: ["sh", "-c", "exec uvicorn app.main:app --host 0.0.0.0 --port ${PORT:-8000}"].',
    ],
)
def check_image_start_is_sound(services: Bench, note: Callable[[str], None]) -> None:
    """The image starts the server in exec form, so that it gets SIGTERM, on 0.0.0.0 and $PORT."""
    obey(services, note, *(name for name in RULES if name.startswith("start-") and RULES[name].kind == "Dockerfile"))


@check(
    points=1,
    hints=[
        "Four services: api, worker, redis, postgres.",
        "api and worker are one image with two commands: an anchor (`x-process: &process`) saves writing it twice.",
    ],
)
def check_compose_has_all_four(services: Bench, note: Callable[[str], None]) -> None:
    """The Compose file describes api, worker, redis and postgres."""
    obey(services, note, "compose-service-missing", "worker-is-another-api", "compose-version", "compose-localhost")


@check(
    points=1,
    hints=[
        "depends_on in its short form waits until a process exists. What do you want to wait for?",
        "condition: service_healthy, and a healthcheck on both stores: redis-cli ping, pg_isready.",
    ],
    needs=(check_compose_has_all_four,),
)
def check_compose_waits_for_health(services: Bench, note: Callable[[str], None]) -> None:
    """The api and the worker start when their stores are healthy, and not before."""
    obey(services, note, "start-not-gated", "gate-without-healthcheck")


@check(
    points=1,
    hints=["Who has to reach Redis? Services of one project reach each other by name, without `ports`."],
    needs=(check_compose_has_all_four,),
)
def check_compose_publishes_no_store(services: Bench, note: Callable[[str], None]) -> None:
    """Redis and the database publish no port."""
    obey(services, note, "store-published")


@check(
    points=2,
    hints=[
        "What of this file would you not show to everybody who may read the repository?",
        "${NAME:?what to do} takes a variable from the environment or .env, and stops when there is none.",
        "The password stands in two places: POSTGRES_PASSWORD, and within DATABASE_URL.",
    ],
    needs=(check_compose_has_all_four,),
)
def check_compose_secrets_come_from_outside(services: Bench, note: Callable[[str], None]) -> None:
    """Secrets come from the environment, not from the Compose file."""
    obey(services, note, "compose-secret", "compose-secret-unset")


@check(
    points=1,
    hints=[
        "What happens to the database when the api leaks memory? And when the machine is restarted at night?",
        "deploy.resources.limits (or mem_limit), and restart: unless-stopped, for each of the four.",
    ],
    needs=(check_compose_has_all_four,),
)
def check_compose_limits_and_restarts(services: Bench, note: Callable[[str], None]) -> None:
    """Each service has limits and a restart policy."""
    obey(services, note, "compose-no-limits", "compose-no-restart", "compose-image-unpinned")


@check(
    points=1,
    hints=[
        "The Procfile has one line a process type, `name: command`; `web` is the one that gets requests.",
        "The platform tells the port in $PORT and asks from outside.",
    ],
)
def check_procfile_serves(services: Bench, note: Callable[[str], None]) -> None:
    """The Procfile starts the service on 0.0.0.0 and $PORT."""
    obey(services, note, *(name for name in RULES if RULES[name].kind == "Procfile"))


@check(
    points=1,
    hints=[
        "railway.toml (or .json) has two tables: build and deploy.",
        "Railway takes the Dockerfile's CMD unless startCommand says otherwise; the less it says, the less is wrong.",
    ],
)
def check_railway_is_configured(services: Bench, note: Callable[[str], None]) -> None:
    """railway.toml or railway.json says how Railway builds and starts the service."""
    obey(services, note, *(name for name in RULES if RULES[name].kind == "railway"))


@check(
    points=2,
    hints=[
        "Three questions to every change: is it clean, is it right, can it be built?",
        "Steps `ruff check .`, `pytest`, `docker build .`, on push and pull_request.",
    ],
)
def check_pipeline_lints_tests_builds(services: Bench, note: Callable[[str], None]) -> None:
    """The workflow lints, tests and builds, and a failing test fails it."""
    obey(
        services,
        note,
        *("workflow-no-lint", "workflow-no-test", "workflow-no-build", "workflow-failure-swallowed"),
        *("workflow-permissions", "workflow-unpinned-action", "workflow-injection", "workflow-pull-request-target"),
    )


@check(
    points=2,
    hints=[
        "Jobs run side by side. What makes one wait for another?",
        "needs: [lint, test, build], and an `if` that is true for a push to main alone.",
        "Play it through: a push to a branch; a pull request; a push to main with a failing test.",
    ],
)
def check_pipeline_deploys_only_tested_main(services: Bench, note: Callable[[str], None]) -> None:
    """The workflow deploys main alone, and only after its tests have passed."""
    obey(services, note, "deploys-from-elsewhere", "deploys-untested", "workflow-no-deploy")


@check(
    points=1,
    hints=[
        "Kubernetes has two questions: restart it? send it requests?",
        "livenessProbe on /livez, readinessProbe on /readyz.",
    ],
)
def check_kubernetes_probes(services: Bench, note: Callable[[str], None]) -> None:
    """Kubernetes probes whether the service is alive and ready."""
    obey(services, note, "k8s-no-workload", "k8s-no-liveness", "k8s-no-readiness", "k8s-liveness-asks-neighbours")


@check(
    points=1,
    hints=["resources.requests is what the scheduler reckons with, limits is what the kernel enforces."],
    needs=(check_kubernetes_probes,),
)
def check_kubernetes_resources(services: Bench, note: Callable[[str], None]) -> None:
    """Every container of the service says what it needs."""
    obey(services, note, "k8s-no-resources", "k8s-runs-as-root", "k8s-secret", "k8s-image-unpinned")


@check(
    points=1,
    hints=[
        "A HorizontalPodAutoscaler (autoscaling/v2) names what it scales, from how many to how many, and by what.",
        "It compares the CPU in use with the CPU requested: without a request it cannot.",
    ],
    needs=(check_kubernetes_probes,),
)
def check_kubernetes_scales(services: Bench, note: Callable[[str], None]) -> None:
    """An autoscaler can change the number of replicas."""
    obey(services, note, "k8s-no-autoscaler", "k8s-autoscaler-aims-at-nothing", "k8s-autoscaler-cannot-scale")


@check(guard=True)
def check_second_opinions(services: Bench, note: Callable[[str], None]) -> None:
    """What other tools say of these files, where they are installed; it carries no points."""
    for opinion in opinions(services.submission.root):
        note(opinion.sentence)


# -- the start commands, run ----


def by_procfile(services: Bench) -> Api:
    """Start the service by the Procfile's web command, which pays for its own imports."""
    tree = Tree(services.submission.root)
    line = web_line(tree)
    if line is None:
        raise Broken("The Procfile has no line that starts with `web:`.")
    return services.command(as_run_here(lambda: runnable.of_procfile(tree, line.command)), LLM_TIMEOUT_S="20")


def by_image(services: Bench) -> Api:
    """Start the service by the Dockerfile's start command, with the image's variables."""
    tree = Tree(services.submission.root)
    if tree.image is None:
        raise Broken("There is no Dockerfile that can be read.")
    image = tree.image
    words = as_run_here(lambda: runnable.of_image(tree, image))
    demand(words, "The Dockerfile has neither CMD nor ENTRYPOINT.")
    return services.command(words, given=runnable.environment(image), LLM_TIMEOUT_S="20")


def as_run_here(words: Callable[[], list[str]]) -> list[str]:
    """Return a start command as this machine can run it. Raises ``Skip`` where it cannot."""
    try:
        return words()
    except NotRunnableError as problem:
        raise Skip(str(problem)) from None


def drains(api: Api, provider: Provider, *, whole_group: bool) -> None:
    """Send SIGTERM in mid-request: the answer still comes, nobody new is let in, and all ends in time."""
    service = api.service
    with provider.gate() as gate:
        pending = api.new_caller().begin_chat(timeout=60)
        demand(gate.wait_held(1) == 1, "POST /chat never reached the provider.", [pending.exchange()])
        watch = Stopwatch()
        if whole_group:
            service.process.signal_group(signal.SIGTERM)
        else:
            service.terminate()
        refused = _refuses(api)
        gate.open()
    if not refused and not service.alive:
        raise Broken("SIGTERM ended the shell in front, and the server behind it runs on: it never heard of it.")
    demand(refused, "After SIGTERM the server went on to accept new connections.")
    expect(pending.result()).status(200, because="the request was under way when SIGTERM came")
    code = service.process.wait(3 * STOP_LIMIT)
    watch.stop()
    demand(code is not None, f"The command still runs {watch.elapsed:.0f} s after SIGTERM.")
    watch.verify(STOP_LIMIT, "The end after SIGTERM")
    demand(code in {0, 143, -signal.SIGTERM}, f"After SIGTERM the command ended with exit code {code}.")


def _refuses(api: Api) -> bool:
    watch = Stopwatch()
    while watch.elapsed - watch.starved < 3.0:
        if not api.service.accepts():
            return True
        api.service.process.wait(0.05)
        watch.stop()
    return False


def heard_from_outside(api: Api) -> None:
    """The server listens on more than 127.0.0.1: on Linux, whoever listens everywhere hears 127.0.0.2 too."""
    if sys.platform == "linux":
        demand(
            api.service.accepts("127.0.0.2"), "The server listens on 127.0.0.1 only: nobody from outside reaches it."
        )


@check(
    points=2,
    hints=[
        "Run the line yourself: PORT=9999 sh -c '<what stands after web:>', then ask port 9999.",
        "Is the application's name right, seen from this folder?",
    ],
    timeout=180,
    ahead=(by_procfile,),
    waits=2,
)
def check_procfile_command_runs(services: Bench, provider: Provider) -> None:
    """The Procfile's web command answers on $PORT from outside, and after SIGTERM finishes what it began."""
    api = services.shared(by_procfile)
    heard_from_outside(api)
    drains(api, provider, whole_group=True)


@check(
    points=2,
    hints=[
        "This is the CMD alone, run as a process without a container: PORT is set, and nothing else is different.",
        "SIGTERM goes to the first process alone. With a shell in front, who tells the server?",
    ],
    timeout=180,
    ahead=(by_image,),
    waits=2,
)
def check_image_command_runs(services: Bench, provider: Provider) -> None:
    """The Dockerfile's start command answers on $PORT from outside, and SIGTERM reaches the server in mid-request."""
    api = services.shared(by_image)
    heard_from_outside(api)
    drains(api, provider, whole_group=False)


# -- backup and restore, run ----


@check(
    points=3,
    hints=[
        "A database that is in use is more than its file: look for service.db-wal beside it.",
        "Python's sqlite3 has Connection.backup: a consistent copy while others write.",
        "The restore puts the file in place of the old one, and takes away the -wal and -shm that belonged to it.",
    ],
    timeout=120,
)
def check_backup_brings_sqlite_back(services: Bench) -> None:
    """scripts/backup of a running service, a wipe, scripts/restore: the same logins as before (SQLite)."""
    survives(services, database="sqlite")


@check(
    points=2,
    hints=[
        "pg_dump --format=custom writes, pg_restore reads it back.",
        "DATABASE_URL says which kind it is. A password on the command line is seen by everybody who runs `ps`.",
        "pg_restore --clean --if-exists --single-transaction: all of it or nothing.",
    ],
    timeout=120,
    waits=2,
)
def check_backup_brings_postgres_back(services: Bench, stack: Stack) -> None:
    """scripts/backup of a running service, a wipe, scripts/restore: the same logins as before (PostgreSQL)."""
    program = stack.postgres().server.program
    folder = str(program.path.parent) if program else ""
    if shutil.which("pg_dump", path=folder or None) is None:
        raise Skip("No pg_dump is on this machine, so the scripts were run on SQLite alone.")
    survives(services, database="postgres", path=folder)


def survives(services: Bench, *, database: str, path: str = "") -> None:
    """Take a backup of a running service, lose everything, bring it back, and look who may log in."""
    file = services.directory / f"backup-{database}" / "backup"
    file.parent.mkdir(exist_ok=True)  # of its own: a service in a sandbox may write nowhere else
    scripts = [services.submission.root / "scripts" / name for name in ("backup", "restore")]
    for script in scripts:
        demand(script.is_file() and os.access(script, os.X_OK), f"There is no executable scripts/{script.name}.")
    api = services.start(users=3, database=database)
    user, admin, gone = api.new_user(), api.new_user("admin"), api.new_user("guest")
    for each in (user, admin, gone):
        expect(api.login(each)).status(200)
    expect(api.token_caller(admin).delete(f"/admin/users/{gone.username}")).status(200)
    ends_well(services, [str(scripts[0]), str(file)], api, path)
    demand(file.is_file() and file.stat().st_size, "scripts/backup ended with exit code 0 and wrote nothing.")
    api.service.stop()
    api.database.wipe()
    ends_well(services, [str(scripts[1]), str(file)], api, path)
    # Without users to put in anew, who can log in now was in the backup.
    after = services.another(api, SEED_USERS="[]")
    for each, wanted in ((user, 200), (admin, 200), (gone, 401)):
        state = "had been deleted before the backup" if wanted == 401 else "was in the backup"
        expect(after.login(each)).status(wanted, because=f"this user {state}")


def ends_well(services: Bench, argv: Sequence[str], api: Api, path: str) -> None:
    """Run a script of the service's; it must end with exit code 0."""
    ended = services.run(argv, api, path=path)
    if ended.code:
        last = next((line for line in reversed(ended.lines) if line.strip()), "it wrote nothing")
        raise Broken(f"scripts/{Path(argv[0]).name} ended with exit code {ended.code}: {last[:300]}")


# -- the image, where an engine is ----


@check(
    points=0,  # so that the lab is worth the same where there is no engine
    hints=[
        "docker build -t service . && docker run --rm -e PORT=9000 -p 9000:9000 --env-file .env service",
        "Does it answer from outside? `docker exec` in, ask who you are (`id`), and look at process 1.",
        "Time `docker stop`: ten seconds and exit code 137 mean that SIGTERM got lost.",
    ],
    timeout=1200,
    exclusive=True,
)
def check_image_runs_in_an_engine(services: Bench, note: Callable[[str], None]) -> None:
    """Built and run by an engine, the service answers from outside, is healthy, not root, and stops in time."""
    engine = find_engine()
    if engine is None:
        raise Skip(
            "No container engine answers here. The files were judged by reading, and the start commands of the "
            "Procfile and the Dockerfile were run as plain processes.",
        )
    tree = Tree(services.submission.root)
    if tree.image is None:
        raise Broken("There is no Dockerfile that can be read.")
    env, port = container_settings(services), 8000 + services.rng.randint(100, 900)
    try:
        with (
            engine.image(tree.root, tree.image.stage.name or None) as image,
            engine.container(image, {**env, "PORT": str(port)}, port) as container,
        ):
            lives(container)
    except NoNetworkError as problem:
        raise Skip(f"{engine.version} could not fetch what the image is built of: {_last(problem)}") from None
    except EngineError as problem:
        raise Broken(f"{engine.version}: {_last(problem)}") from None
    note(f"Built, run, asked and stopped by {engine.version}.")


def container_settings(services: Bench) -> Mapping[str, str]:
    """The contract's variables for a container, which reaches none of the grader's servers."""
    changes = {
        "API_KEYS": "{}",
        "DATABASE_URL": "sqlite:////tmp/service.db",
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
        "REDIS_URL": "redis://127.0.0.1:9/0",
    }
    return Settings.draw(users=0, changes=changes, rng=services.rng).env


def lives(container: Container) -> None:
    """The container answers from outside, is nobody's root, says that it is healthy, and stops when asked."""
    watch = Stopwatch()
    while (status := asked(container.port)) != 200:
        watch.stop()
        if container.state().get("Running") is not True:
            raise Broken(f"The container ended: {' '.join(container.log()[-3:])[:400]}")
        if watch.elapsed - watch.starved > 3 * STOP_LIMIT:
            said = f"/livez answers {status}" if status else "nobody answers"
            raise Broken(f"From outside the container, on the port that PORT names, {said}.")
    demand("0" not in container.users(), "A process of the container runs as root.")
    demand(container.healthy() is True, "The image's own HEALTHCHECK fails inside the container, although it serves.")
    watch = Stopwatch()
    code = container.stop()
    watch.stop()
    demand(code != 137, "The engine had to kill the container: SIGTERM did not end it within 10 s.")
    demand(code in {0, 143}, f"After SIGTERM the container ended with exit code {code}.")


def asked(port: int) -> int | None:
    """Ask /livez from outside."""
    return Caller(("127.0.0.1", port)).get("/livez", timeout=2).status


def _last(problem: EngineError) -> str:
    lines: Collection[str] = [line for line in str(problem).splitlines() if line.strip()]
    return " / ".join(list(lines)[-3:])[:500]
