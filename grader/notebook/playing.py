"""What runs behind a notebook: one Redis, one model provider, the learner's service and small apps.

All of it are processes of two supervisors; they end with the kernel, however it ends.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import sys
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from grader import playground, workspace
from grader.notebook.client import Client
from grader.notebook.model import Model
from grader.service import Service, StartFailedError, base_environment, listen
from grader.stack import Stack
from grader.startup import explain
from grader.submission import Submission
from grader.workshop import PRELOAD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grader.provider import Provider, ProviderProcess
    from grader.supervisor import Process, Supervisor

APP_LIMIT = 30.0
"""Seconds for a small app to start on a busy machine."""


class Play:
    """The processes of one notebook, started when they are first needed."""

    def __init__(self) -> None:
        self._ending = contextlib.ExitStack()
        self._service: Service | None = None
        self._apps: dict[str, tuple[Process, str]] = {}
        self._changes: dict[str, str] = {}
        self.submission = Submission(workspace.service())
        atexit.register(self.close)

    @cached_property
    def folder(self) -> Path:
        """A folder that goes away with the processes."""
        return Path(tempfile.mkdtemp(prefix="course-"))

    @cached_property
    def backends(self) -> Supervisor:
        """Owns the servers."""
        return self._owner(scratch=self.folder)

    @cached_property
    def learners(self) -> Supervisor:
        """Owns services and apps, whose imports it has done already."""
        self.backends  # noqa: B018 - it ends last, as it removes the folder
        return self._owner(preload=PRELOAD)

    def _owner(self, *, preload: Sequence[str] = (), scratch: Path | None = None) -> Supervisor:
        from grader.supervisor import Supervisor  # noqa: PLC0415 - importing a notebook's words starts nothing

        return self._ending.enter_context(Supervisor(preload=preload, scratch=scratch))

    @cached_property
    def stack(self) -> Stack:
        """The Redis and databases."""
        return self._ending.enter_context(Stack(self.backends, self.folder / "stack"))

    @cached_property
    def provider_process(self) -> ProviderProcess:
        """The model provider's process."""
        from grader.provider import ProviderProcess  # noqa: PLC0415 - as above

        return ProviderProcess.start(self.backends, self.folder)

    @cached_property
    def provider(self) -> Provider:
        """The provider's control, for the namespace of this notebook."""
        return self.provider_process.new_namespace()

    @property
    def running(self) -> bool:
        """Whether the service runs."""
        return self._service is not None and self._service.alive

    @property
    def url(self) -> str:
        """The service's address; of one that has ended, the last."""
        return self._service.url if self._service else "http://127.0.0.1:9"

    def start(self, changes: Mapping[str, object] | None = None, *, afresh: bool = True) -> None:
        """Start the learner's service; `afresh` with an empty Redis and database. Raises ``StartFailedError``."""
        self.stop_service()
        self.submission = Submission.at(workspace.service())
        self._changes = {name: str(value) for name, value in (changes or {}).items()}
        self.learners  # noqa: B018 - its imports begin while the servers start
        if afresh:
            self.provider.reset()
            self.stack.redis.client().flushall()
            self.database.unlink(missing_ok=True)
        log = self.folder / "service.log"
        self._service = Service.start(
            self.submission, self.environment(), supervisor=self.learners, log_path=log, name="service"
        )
        announce(self.url, self.provider.page_url)

    @property
    def database(self) -> Path:
        """The service's SQLite file."""
        return self.folder / "service.db"

    def environment(self) -> dict[str, str]:
        """Return what services and apps are started with."""
        return {
            **base_environment(self.folder),
            **playground.callers(),
            "OPENAI_BASE_URL": self.provider.base_url,
            "OPENAI_API_KEY": self.provider.api_key,
            "REDIS_URL": self.stack.redis.url,
            "DATABASE_URL": f"sqlite:///{self.database}",
            **self._changes,
        }

    def lines(self) -> list[str]:
        """Return what the service has said since its last start."""
        return self._service.lines() if self._service else []

    def app(self, name: str, source: str, workers: int = 1) -> None:
        """Run a source text as a web application of its own. Raises ``StartFailedError``."""
        self.stop_app(name)
        root = self.folder / f"app-{name}"
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        (root / f"{name}_app.py").write_text(f"\n{source}", encoding="utf-8")  # lines count as in the cell
        target, log = f"{name}_app:app", root / "said.log"
        with listen() as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            if workers == 1:
                process = self.learners.serve(
                    target, factory=False, env=self.environment(), cwd=root, listener=listener, log=log
                )
            else:
                number = listener.fileno()
                argv = [sys.executable, "-m", "uvicorn", target, "--fd", str(number), "--workers", str(workers)]
                process = self.learners.spawn(argv, env=self.environment(), cwd=root, log=log, fds=(number,))
        if not process.wait_for_output("Application startup complete", APP_LIMIT):
            code = process.poll()
            process.stop(0.5)
            raise StartFailedError(explain(log.read_text(errors="replace").splitlines(), code, root, target))
        self._apps[name] = (process, url)

    def client(self, name: str) -> Client:
        """Return a client of a small app."""
        return AppClient(name, self)

    def app_url(self, name: str) -> str:
        """Return a small app's address."""
        return self._apps[name][1]

    def app_lines(self, name: str) -> list[str]:
        """Return what a small app has said."""
        return (self.folder / f"app-{name}" / "said.log").read_text(errors="replace").splitlines()

    @property
    def apps(self) -> dict[str, bool]:
        """The small apps, and whether each still runs."""
        return {name: process.poll() is None for name, (process, _) in self._apps.items()}

    def stop_app(self, name: str) -> None:
        """End a small app, if it runs."""
        if name in self._apps:
            self._apps[name][0].stop(0.5)

    def stop_service(self) -> None:
        """End the service, if it runs."""
        if self._service:
            self._service.stop(grace=3.0)

    def close(self) -> None:
        """End everything."""
        withdraw()
        for name in list(self._apps):
            self.stop_app(name)
        self.stop_service()
        self._ending.close()
        atexit.unregister(self.close)


class AppClient(Client):
    """Talks to a small app of the notebook."""

    def __init__(self, name: str, play: Play) -> None:
        super().__init__(name, lambda: play.app_url(name), key=None)
        self._play = play

    def logs(self, last: int = 20) -> str:
        """Return the last lines that the app has said."""
        return "\n".join(self._play.app_lines(self.name)[-last:])

    def stop(self) -> None:
        """End the app."""
        self._play.stop_app(self.name)


class ServiceClient(Client):
    """Talks to the learner's service, and starts and ends it."""

    def __init__(self, play: Play) -> None:
        super().__init__("service", lambda: play.url)
        self._play = play

    def restart(self, **changes: object) -> None:
        """Start anew with other settings, such as `RATE_LIMIT_REQUESTS=3`; Redis and database keep what they hold."""
        self._play.start(changes, afresh=False)

    def stop(self) -> None:
        """End the service; its Redis and the model stay."""
        self._play.stop_service()

    def logs(self, last: int = 20) -> str:
        """Return the last lines that the service has said."""
        return "\n".join(self._play.lines()[-last:])

    def metrics(self) -> dict[str, float]:
        """Return what /metrics counts: `{'http_requests_total{path="/chat"}': 3.0}`; empty where there is none."""
        from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - for one notebook

        answer = self.get("/metrics")
        answer = self.get("/metrics/") if answer.status in {307, 308} else answer
        if not answer.ok:
            return {}
        samples = [each for family in text_string_to_metric_families(answer.text) for each in family.samples]
        return {_spelled(each.name, each.labels): each.value for each in samples}


def _spelled(name: str, labels: Mapping[str, str]) -> str:
    inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{inside}}}" if inside else name


def words(play: Play) -> dict[str, object]:
    """Return the names that a notebook gets with `%service start`."""
    return {"service": ServiceClient(play), "provider": Model(lambda: play.provider), "stack": play.stack}


def spelled(folder: Path) -> str:
    """Write a folder as seen from the course's root, wherever the notebook lies."""
    root = workspace.root().resolve()
    return str(folder.resolve().relative_to(root) if folder.resolve().is_relative_to(root) else folder)


def announcement() -> Path:
    """Name the file that tells the pages of JupyterLab what runs."""
    return workspace.home() / "running.json"


def announce(url: str, page: str) -> None:
    """Tell the pages of JupyterLab where service and provider are; the last notebook that starts them counts."""
    path = announcement()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps({"kernel": os.getpid(), "service": url, "provider": page}), encoding="utf-8")
    part.replace(path)


def withdraw() -> None:
    """Take back what this kernel has told."""
    with contextlib.suppress(OSError, ValueError):
        if json.loads(announcement().read_text(encoding="utf-8"))["kernel"] == os.getpid():
            announcement().unlink()
