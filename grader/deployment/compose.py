"""Rules: the Compose project."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from grader.deployment import secrets
from grader.deployment.located import Map, Value, items, mapping, text, texts
from grader.deployment.rule import Spot, rule

if TYPE_CHECKING:
    from grader.deployment.tree import Tree

KIND = "compose"
SERVICES = ("api", "worker", "redis", "postgres")
STORES = ("redis", "postgres")
_STORE_IMAGE = re.compile(
    r"(?:^|/)(?:redis|valkey|postgres(?:ql)?|pgvector|postgis|timescaledb|redis-stack(?:-server)?|keydb)(?:[:@]|$)"
)
_REFERENCE = re.compile(r"\$\$|\$(?:\{(\w+)(?::?([-?+])((?:[^{}]|\{[^{}]*\})*))?\}|(\w+))")


def service(tree: Tree, name: str) -> Map | None:
    """Return a service of the project, None when there is no such one."""
    found = mapping(tree.compose).at("services", name)
    return found if isinstance(found, Map) else None


def _services(tree: Tree) -> list[tuple[str, Map]]:
    services = mapping(tree.compose).map("services")
    return [(name, found) for name, found in services.items() if isinstance(found, Map)]


def _wanted(tree: Tree) -> list[tuple[str, Map]]:
    return [(name, found) for name in SERVICES if (found := service(tree, name)) is not None]


def spot(tree: Tree, where: Map, key: str, what: str, *, advice: bool = False) -> Spot:
    """Return a spot at `key` of a mapping of the project."""
    return Spot(where.file or tree.compose_file or "compose.yaml", where.line_of(key), what, advice)


@rule(
    "compose-service-missing",
    KIND,
    why="The service needs all four to keep its promises: limits in Redis, users in PostgreSQL, tasks in the worker.",
    mend="Describe api, worker, redis and postgres under `services`, by these names.",
)
def compose_service_missing(tree: Tree) -> Iterator[Spot]:
    """The project has the services api, worker, redis and postgres."""
    for name in SERVICES if tree.compose is not None else ():
        if service(tree, name) is None:
            yield spot(tree, mapping(tree.compose), "services", f"There is no service named {name}.")


@rule(
    "worker-is-another-api",
    KIND,
    why="Without a command of its own the container starts the image's: a second web server, and nobody takes tasks.",
    mend='Give it `command: ["celery", "-A", "app.worker", "worker", "--concurrency", "2"]`.',
)
def worker_is_another_api(tree: Tree) -> Iterator[Spot]:
    """The worker starts something else than the api."""
    api, worker = service(tree, "api"), service(tree, "worker")
    if api is None or worker is None:
        return
    keys = ("build", "image", "command", "entrypoint")
    same_image = worker.get("build") == api.get("build") and (
        worker.get("image") == api.get("image") or "build" in worker
    )
    if same_image and all(worker.get(key) == api.get(key) for key in keys[2:]):
        yield spot(tree, worker, "command", "worker runs the same image with the same command as api.")


def _dependencies(where: Map) -> dict[str, str]:
    """Return what a service waits for, and until when."""
    wanted = where.get("depends_on")
    if isinstance(wanted, Map):
        return {name: text(mapping(value).get("condition")) or "service_started" for name, value in wanted.items()}
    return dict.fromkeys(texts(wanted), "service_started")


def _gated(tree: Tree, name: str, store: str, seen: frozenset[str] = frozenset()) -> bool:
    """Whether a service cannot start before the store is healthy, however many services stand between them."""
    where = service(tree, name)
    if where is None or name in seen:
        return False
    waits = _dependencies(where)
    return waits.get(store) == "service_healthy" or any(_gated(tree, other, store, seen | {name}) for other in waits)


@rule(
    "start-not-gated",
    KIND,
    why="Started is not ready: PostgreSQL accepts nobody for seconds after its start, and the first requests fail.",
    mend="depends_on: {redis: {condition: service_healthy}, postgres: {condition: service_healthy}}.",
)
def start_not_gated(tree: Tree) -> Iterator[Spot]:
    """Api and worker start only when the stores they use are healthy."""
    for name, stores in (("api", STORES), ("worker", ("redis",))):
        where = service(tree, name)
        for store in stores if where is not None else ():
            if where is not None and service(tree, store) is not None and not _gated(tree, name, store):
                yield spot(tree, where, "depends_on", f"{name} does not wait until {store} is healthy.")
    for name, where in _services(tree):
        for store, condition in _dependencies(where).items():
            told = name == "api" or (name == "worker" and store == "redis")
            if store in STORES and condition == "service_started" and not told and not _gated(tree, name, store):
                yield spot(
                    tree, where, "depends_on", f"{name} waits only until {store} is started.", advice=name != "worker"
                )


@rule(
    "gate-without-healthcheck",
    KIND,
    why="The image brings no check of its own, so Compose refuses to wait for its health and starts nothing.",
    mend="Give it a healthcheck: `redis-cli ping`, or `pg_isready -h 127.0.0.1 -U …`.",
)
def gate_without_healthcheck(tree: Tree) -> Iterator[Spot]:
    """A store that others wait for can say that it is healthy."""
    for store in STORES:
        where = service(tree, store)
        if where is None or not any(
            _dependencies(other).get(store) == "service_healthy" for _, other in _services(tree)
        ):
            continue
        check = mapping(where.get("healthcheck"))
        silent = check.get("disable") is True or texts(check.get("test")) in ([], ["NONE"])
        if silent:
            unsure = not _STORE_IMAGE.search(text(where.get("image")).lower()) and "test" not in check
            yield spot(tree, where, "healthcheck", f"{store} has no healthcheck that runs.", advice=unsure)


@rule(
    "store-published",
    KIND,
    why="A published port is open on every address of the machine; Redis asks nobody for a password.",
    mend="Take `ports` out: services of one project reach each other by name without it.",
)
def store_published(tree: Tree) -> Iterator[Spot]:
    """Redis and the database publish no port."""
    for name, where in _services(tree):
        if name not in STORES and not _STORE_IMAGE.search(text(where.get("image")).lower()):
            continue
        if items(where.get("ports")):
            yield spot(tree, where, "ports", f"{name} publishes a port.")
        if where.get("network_mode") == "host":
            yield spot(
                tree, where, "network_mode", f"{name} is in the host's own network, which publishes all its ports."
            )


def _variables(where: Map) -> Iterator[tuple[str, str, int]]:
    environment = where.get("environment")
    if isinstance(environment, Map):
        yield from ((name, text(value), environment.line_of(name)) for name, value in environment.items())
    for number, entry in enumerate(items(environment) if not isinstance(environment, Map) else []):
        name, equals, value = text(entry).partition("=")
        lines: list[int] = getattr(environment, "lines", [])
        if equals:
            yield name, value, lines[number] if number < len(lines) else where.line_of("environment")


def literal(value: str) -> str:
    """Return what a value says by itself: references give nothing, but for their defaults."""
    return _REFERENCE.sub(lambda found: (found[3] or "") if found[2] == "-" else "", value)


@rule(
    "compose-secret",
    KIND,
    why="The file is in git: whoever may read the code has the secret, and everybody's machine has the same one.",
    mend="Write `${NAME:?}`: Compose takes it from the environment or .env, and stops when it is missing.",
)
def compose_secret(tree: Tree) -> Iterator[Spot]:
    """Secrets come from the environment, not from the Compose file."""
    for name, where in _services(tree):
        for variable, value, line in _variables(where):
            said = literal(value)
            # A URL whose password is a reference has lost it here, so only what is left counts.
            if secrets.given(variable, said):
                what = f"{name} is given a {variable} that stands in this file."
                yield Spot(where.file or tree.compose_file or "compose.yaml", line, what)
        words = " ".join(texts(where.get("command")))
        password = re.search(r"--(?:requirepass|masterauth)\s+(\S+)", words)
        if password and literal(password[1]):
            yield spot(tree, where, "command", f"{name}'s command holds a password.")


@rule(
    "compose-secret-unset",
    KIND,
    why="An unset variable becomes an empty one, with only a warning.",
    mend="Write `${NAME:?}`.",
    advice=True,
)
def compose_secret_unset(tree: Tree) -> Iterator[Spot]:
    """A secret that is not set stops the start."""
    for name, where in _services(tree):
        for variable, value, line in _variables(where):
            bare = [found for found in _REFERENCE.finditer(value) if found[0] != "$$" and found[2] is None]
            if bare and (secrets.named(variable) or any(secrets.named(found[1] or found[4] or "") for found in bare)):
                what = f"{name}'s {variable} is empty when nobody sets it."
                yield Spot(where.file or tree.compose_file or "compose.yaml", line, what)


@rule(
    "compose-no-limits",
    KIND,
    why="One leak then takes the whole machine: the kernel ends whatever is largest, often the database.",
    mend='deploy: {resources: {limits: {cpus: "1.0", memory: 512M}}}.',
)
def compose_no_limits(tree: Tree) -> Iterator[Spot]:
    """Every service has a limit."""
    for name, where in _wanted(tree):
        limits = where.map("deploy", "resources", "limits")
        direct = [key for key in ("mem_limit", "cpus", "cpu_quota", "pids_limit") if where.get(key) is not None]
        if not limits and not direct:
            yield spot(tree, where, "deploy", f"{name} has no limits.")


@rule(
    "compose-no-restart",
    KIND,
    why="A process that ends, or a machine that is restarted, then stays down until somebody notices.",
    mend="Add `restart: unless-stopped`.",
)
def compose_no_restart(tree: Tree) -> Iterator[Spot]:
    """Every service is restarted when it ends."""
    for name, where in _wanted(tree):
        policy = text(where.get("restart"))
        deployed: Value = where.at("deploy", "restart_policy")
        condition = text(mapping(deployed).get("condition")) or "any"
        again = policy.split(":")[0] in {"always", "unless-stopped", "on-failure"} or "$" in policy
        if not again and not (isinstance(deployed, Map) and condition != "none"):
            yield spot(
                tree,
                where,
                "restart",
                f"{name} has no restart policy." if not policy else f"`restart: {policy}` restarts nothing.",
            )


@rule(
    "compose-localhost",
    KIND,
    why="In a container, localhost is the container itself: nobody else listens there.",
    mend="Name the service: redis://redis:6379/0, postgresql://…@postgres:5432/….",
    advice=True,
)
def compose_localhost(tree: Tree) -> Iterator[Spot]:
    """Neighbours are called by their service names."""
    for name, where in _services(tree):
        for variable, value, line in _variables(where):
            local = re.search(
                r"\b(?:redis|postgres(?:ql)?)(?:\+\w+)?://(?:[^@/]*@)?(?:localhost|127\.0\.0\.1)\b", value
            )
            if local and where.get("network_mode") is None:
                what = f"{name}'s {variable} calls a neighbour at localhost."
                yield Spot(where.file or tree.compose_file or "compose.yaml", line, what)


@rule(
    "compose-image-unpinned",
    KIND,
    why="`latest`, or a bare major, is another program after the next pull.",
    mend="Name major.minor at least, as in `redis:8.2-alpine`.",
    advice=True,
)
def compose_image_unpinned(tree: Tree) -> Iterator[Spot]:
    """Images are pinned."""
    for name, where in _services(tree):
        image = text(where.get("image"))
        if image and "build" not in where and "$" not in image and not re.search(r"@sha256:|:[^/]*\d+\.\d+", image):
            yield spot(tree, where, "image", f"{name}'s image `{image}` may be another one tomorrow.")


@rule(
    "compose-version",
    KIND,
    why="Compose has read no `version` for years and warns about it.",
    mend="Take the line out.",
    advice=True,
)
def compose_version(tree: Tree) -> Iterator[Spot]:
    """The file has no `version`."""
    if "version" in mapping(tree.compose):
        yield spot(tree, mapping(tree.compose), "version", "`version` is obsolete.")
