"""Bench: what the checks of one lab work with: backends, provider, and services started as they need them."""

from __future__ import annotations

import copy
import itertools
import os
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import certifi

from grader import patience
from grader.api import Api, Pool
from grader.expectation import Broken
from grader.ports import ReservedPort
from grader.service import SHARE, START_LIMIT, Service, StartFailedError, base_environment, listen
from grader.settings import CALLERS, Settings
from grader.sqlite import SqliteDatabase
from grader.submission import Submission

if TYPE_CHECKING:
    from grader.postgres import PostgresDatabase
    from grader.provider import Provider
    from grader.stack import Stack
    from grader.supervisor import Process, Supervisor

Built = TypeVar("Built")


_TRUSTED = ".certificates.pem"


@cache
def _one_certificate() -> str:
    """Return a short list of trusted certificates: services read it at each start, and call nobody by TLS here."""
    first, end, _ = certifi.contents().partition("-----END CERTIFICATE-----")
    return first + end + "\n"


@dataclass(frozen=True)
class Exit:
    """How a process ended."""

    code: int
    lines: list[str]


class Bench:
    """Starts services with settings of their own, each with its own Redis and SQL database, and ends them."""

    callers = CALLERS
    """API keys of role user that its services are started with."""

    outside = False
    """Whether the main service is somebody else's, whose output cannot be read."""

    def __init__(
        self,
        submission: Submission,
        *,
        learners: Supervisor,
        stack: Stack,
        provider: Provider,
        directory: Path,
        seed: str,
    ) -> None:
        self.submission = submission
        self.learners = learners
        self.stack = stack
        self.provider = provider
        self.directory = directory
        self.rng = random.Random(seed)
        self._home = directory / "home"
        self._home.mkdir()
        (self._home / _TRUSTED).write_text(_one_certificate())
        self._numbers = itertools.count(1)
        self._forget()

    def sibling(self, *, submission: Submission | None = None, provider: Provider | None = None) -> Bench:
        """Return a bench over the same backends; what it starts lives as long as the lab, not only as long as a check.

        It may serve another submission, or have another namespace of the provider.
        """
        twin = copy.copy(self)
        twin.submission = submission or self.submission
        twin.provider = provider or self.provider
        twin.rng = random.Random(self.rng.random())
        twin._forget()  # noqa: SLF001  # ourselves, so to speak
        self._siblings.append(twin)
        return twin

    def _forget(self) -> None:
        """Own nothing that was started."""
        self._started: list[Service] = []
        self._processes: list[Process] = []
        self._siblings: list[Bench] = []
        self._shared: dict[Callable[[Bench], Any], Future[Any]] = {}

    def shared(self, build: Callable[[Bench], Built]) -> Built:
        """Return what ``build`` makes of a bench of its own: made once a lab, however many checks ask for it."""
        if build not in self._shared:
            self._build(build, self.sibling())
        made: Future[Built] = self._shared[build]
        return made.result()

    def begin(self, build: Callable[[Bench], Any]) -> None:
        """Begin to build beside the checks what ``shared`` will be asked for."""
        _ = self.stack.redis  # started on demand, which two threads might do at once
        self._shared[build] = Future()
        threading.Thread(target=self._build, args=(build, self.sibling()), daemon=True).start()

    def _build(self, build: Callable[[Bench], Any], bench: Bench) -> None:
        made = self._shared.setdefault(build, Future())
        try:
            made.set_result(build(bench))
        except Exception as error:  # noqa: BLE001  # raised again for whoever asks
            made.set_exception(error)
        except BaseException:  # the check was interrupted; another may try
            del self._shared[build]
            raise

    def start(self, *, users: int = 0, database: str = "sqlite", **changes: str | None) -> Api:
        """Start a service with other settings; ``None`` leaves a variable out. Raises ``Broken`` when it will not."""
        return self.replicas(1, users=users, database=database, together=False, **changes)[0]

    def replicas(
        self,
        count: int,
        *,
        users: int = 0,
        database: str = "sqlite",
        together: bool = False,
        **changes: str | None,
    ) -> list[Api]:
        """Start several replicas that share settings, Redis and database, one by one or all at the same time."""
        try:
            return self.launch(count, users=users, database=database, together=together, **changes)
        except StartFailedError as failed:
            given = ", ".join(f"{name}={value}" for name, value in changes.items()) or "the settings of the contract"
            where = f" ({failed.problem.place})" if failed.problem.place else ""
            detail = failed.problem.detail or failed.problem.cause
            raise Broken(f"With {given} the service does not start: {detail}{where}") from None

    def launch(
        self,
        count: int,
        *,
        users: int = 0,
        database: str = "sqlite",
        together: bool = False,
        **changes: str | None,
    ) -> list[Api]:
        """Start replicas. Raises ``StartFailedError``."""
        settings, sql = self._settings(users, database, changes)
        number = next(self._numbers)
        names = [f"service-{number}.{replica}" for replica in range(count)]
        if together:
            with ThreadPoolExecutor(count) as pool_of_threads:
                services = list(pool_of_threads.map(lambda name: self._serve(settings, name), names))
        else:
            services = [self._serve(settings, name) for name in names]
        pool = Pool.of(settings)
        return [Api(service, settings, pool, database=sql) for service in services]

    def start_without_database(self, *, users: int = 0, **changes: str | None) -> tuple[Api, SqliteDatabase]:
        """Start a service whose SQLite file is a folder until it is repaired."""
        settings, sql = self._settings(users, "sqlite", changes)
        if not isinstance(sql, SqliteDatabase):
            raise TypeError("only a SQLite file can be broken before the start")
        sql.break_()
        try:
            service = self._serve(settings, f"service-{next(self._numbers)}")
        except StartFailedError as failed:
            why = failed.problem.detail or failed.problem.cause
            raise Broken(f"Without its database the service does not start: {why}") from None
        return Api(service, settings, Pool.of(settings), database=sql), sql

    def another(self, api: Api, **changes: str) -> Api:
        """Start one more replica beside a running one, or after it has ended, perhaps with a changed setting."""
        settings = Settings({**api.settings.env, **changes}, api.settings.keys, api.settings.users)
        service = self._serve(settings, f"service-{next(self._numbers)}")
        return Api(service, settings, api.pool, database=api.database)

    def worker(self, api: Api) -> Process:
        """Start the background worker that belongs to a service (contract: lab 9)."""
        process = self.learners.spawn(
            self.submission.worker,
            env=self._environment(api.settings),
            cwd=self.submission.root,
            log=self.directory / f"worker-{next(self._numbers)}.log",
            limits=SHARE,
        )
        patience.WATCHED.add(process.pid)
        self._processes.append(process)
        return process

    def command(
        self,
        argv: Sequence[str],
        *,
        given: Mapping[str, str] | None = None,
        users: int = 0,
        database: str = "sqlite",
        **changes: str | None,
    ) -> Api:
        """Start a service by a command line of the learner's, in its folder, told its port in PORT.

        ``given`` are variables that the contract does not name (an image's ENV). Raises ``Broken``.
        """
        settings, sql = self._settings(users, database, changes)
        reserved, name = ReservedPort(), f"command-{next(self._numbers)}"
        try:
            service = Service.command(
                self.submission,
                argv,
                {**self._surroundings(), **(given or {}), **settings.env},
                supervisor=self.learners,
                log_path=self.directory / f"{name}.log",
                port=reserved.number,
                name=name,
            )
        except StartFailedError as failed:
            last = next((line for line in reversed(failed.problem.log) if line.strip()), "")
            said = failed.problem.detail or " ".join([failed.problem.cause, last[:200]]).strip()
            raise Broken(f"{said} ({failed.problem.place})" if failed.problem.place else said) from None
        except OSError as error:
            raise Broken(f"{argv[0]} cannot be started: {error.strerror}.") from None
        finally:
            reserved.close()
        self._started.append(service)
        return Api(service, settings, Pool.of(settings), database=sql)

    def run(self, argv: Sequence[str], api: Api, *, path: str = "", within: float = 60.0) -> Exit:
        """Run a program of the service's to its end, in its folder, with the settings of ``api``.

        ``path`` is put before the PATH. Raises ``Broken`` when it cannot be started or does not end in time.
        """
        log = self.directory / f"program-{next(self._numbers)}.log"
        environment = self._environment(api.settings)
        environment["PATH"] = f"{path}{os.pathsep if path else ''}{environment['PATH']}"
        try:
            process = self.learners.spawn(
                argv, env=environment, cwd=self.submission.root, log=log, limits=SHARE, writable=self._folders_of(argv)
            )
        except OSError as error:
            raise Broken(f"{Path(argv[0]).name} cannot be started: {error.strerror}.") from None
        self._processes.append(process)
        code = process.wait(within)
        if code is None:
            process.stop(0.3)
            raise Broken(f"{Path(argv[0]).name} has not ended after {within:.0f} s.")
        return Exit(code, log.read_text(encoding="utf-8", errors="replace").splitlines())

    def refuses(self, **changes: str | None) -> Exit:
        """Start a service that must refuse its settings, and return how it ended. Raises ``Broken`` if it runs on."""
        return self.all_refuse([changes])[0]

    def all_refuse(self, cases: Sequence[Mapping[str, str | None]]) -> list[Exit]:
        """Do so with several settings, each on its own, at the same time."""
        begun = [self._begin_refusal(changes) for changes in cases]
        return [self._end_refusal(service, changes) for service, changes in zip(begun, cases, strict=True)]

    def _begin_refusal(self, changes: Mapping[str, str | None]) -> Service:
        settings, _ = self._settings(0, "sqlite", changes)
        log_path = self.directory / f"refused-{next(self._numbers)}.log"
        listener = listen()
        process = self.learners.serve(
            self.submission.app,
            factory=self.submission.factory,
            env=self._environment(settings),
            cwd=self.submission.root,
            listener=listener,
            log=log_path,
            limits=SHARE,
        )
        service = Service(process, listener.getsockname()[:2], log_path, "refused")
        listener.close()
        self._started.append(service)
        return service

    def _end_refusal(self, service: Service, changes: Mapping[str, str | None]) -> Exit:
        watch = patience.Stopwatch()
        code = service.process.wait(START_LIMIT + patience.GRACE)
        while code is None:
            watch.stop()
            if watch.elapsed - watch.starved > START_LIMIT + patience.GRACE:
                service.stop(grace=0.5)
                named = ", ".join(changes)
                raise Broken(f"The service keeps running with {named} absent or wrong; it must end with an error.")
            code = service.process.wait(0.5)
        service.stop(grace=0.5)
        return Exit(code, service.lines())

    def end(self) -> None:
        """End every service that was started here, at once: how services end is for checks to see."""
        for sibling in self._siblings:
            sibling.end()
        for service in self._started:
            service.stop(grace=0)
        for process in self._processes:
            process.stop(grace=0)
        self._started.clear()
        self._processes.clear()

    def recent(self, names: set[str]) -> list[Service]:
        """Return the running services of those names."""
        found = [service for service in self._started if service.name in names]
        return found + [service for sibling in self._siblings for service in sibling.recent(names)]

    def mark(self) -> int:
        """Remember which services run, so that ``end_since`` ends those started later."""
        return len(self._started)

    def end_since(self, mark: int) -> None:
        """End the services and workers that were started since a mark."""
        for process in self._processes:
            process.stop(grace=0)
        self._processes.clear()
        for service in self._started[mark:]:
            service.stop(grace=0)
        del self._started[mark:]

    def _serve(self, settings: Settings, name: str) -> Service:
        service = Service.start(
            self.submission,
            self._environment(settings),
            supervisor=self.learners,
            log_path=self.directory / f"{name}.log",
            name=name,
        )
        self._started.append(service)
        return service

    def _settings(
        self,
        users: int,
        database: str,
        changes: Mapping[str, str | None],
    ) -> tuple[Settings, SqliteDatabase | PostgresDatabase]:
        number = next(self._numbers)
        sql = self.stack.postgres() if database == "postgres" else self.stack.sqlite(f"service{number}")
        given: dict[str, str | None] = {
            "REDIS_URL": f"{self.stack.redis.url.rpartition('/')[0]}/{number}",
            "DATABASE_URL": sql.url,
            "OPENAI_BASE_URL": self.provider.base_url,
            "OPENAI_API_KEY": self.provider.api_key,
        }
        return Settings.draw(users=users, changes={**given, **changes}, rng=self.rng, callers=self.callers), sql

    def _environment(self, settings: Settings) -> dict[str, str]:
        return self._surroundings() | dict(settings.env)

    def _folders_of(self, argv: Sequence[str]) -> list[Path]:
        """The folders of the lab's own files that are named in a command line."""
        named = [Path(word).parent for word in argv[1:] if Path(word).is_absolute()]
        return [folder for folder in named if self.directory in folder.parents]

    def _surroundings(self) -> dict[str, str]:
        return base_environment(self._home) | {"SSL_CERT_FILE": str(self._home / _TRUSTED)}
