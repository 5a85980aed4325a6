"""The Compose stack without containers: the same parts from wheels and PATH, with the same configuration files.

What `docker-compose.yml` passes on, `stack/Caddyfile` and `stack/prometheus/` are read from there; `.env` is shared.
Data do not outlast the stack, which is the one thing that containers do better here.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import yaml

from grader.course import ROOT
from grader.parts import PartFailedError, find_caddy
from grader.ports import HOST, ReservedPort
from grader.stack import Stack
from grader.submission import Submission

if TYPE_CHECKING:
    from grader.supervisor import Process, Supervisor

START_LIMIT = 60.0
"""Seconds for a part to answer, on a machine that is busy."""

MOST_REPLICAS = 5
"""As many as the load balancer of the Compose file knows."""

RESTART_PAUSE = 1.0
"""Seconds before a part that ended is started again."""


@dataclass(frozen=True)
class Part:
    """A program of the stack: how it is started, and the port at which it answers (0: none)."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    port: int = 0


class LocalStack:
    """Starts the parts in the order of their gates, keeps them up, and knows their addresses."""

    def __init__(self, supervisor: Supervisor, folder: Path, values: Mapping[str, str]) -> None:
        """Lay out a stack whose files go into ``folder``; ``values`` are those of `.env`."""
        self.values = values
        self.notes: list[str] = []
        self.addresses: dict[str, str] = {}
        self._supervisor = supervisor
        self._folder = folder
        self._parts: list[tuple[Part, Process]] = []
        self._ports: list[ReservedPort] = []
        self._servers = Stack(supervisor, folder / "servers")

    def start(self, submission: Submission) -> None:
        """Start everything. Raises ``PartMissingError`` and ``PartFailedError``."""
        profiles = self.values.get("COMPOSE_PROFILES", "").split(",")
        model = self._provider()
        env = self._service_env(model)
        replicas = [self._replica(submission, env, number + 1) for number in range(self._count())]
        if "worker" in profiles:
            program = str(Path(sys.executable).with_name(submission.worker[0]))
            command = [program if Path(program).exists() else submission.worker[0], *submission.worker[1:]]
            self._run(Part("worker", command, env, submission.root))
        metrics = self._balancer(replicas)
        if "monitoring" in profiles:
            self._monitoring(replicas, metrics)
        if "load" in profiles:
            self.notes.append("Locust runs in containers, or as `make grade ARGS=--load-ui`.")

    def keep_up(self) -> NoReturn:
        """Start again what ends, as `restart: unless-stopped` does, until an exception ends it."""
        while True:
            for number, (part, process) in enumerate(self._parts):
                if process.poll() is not None:
                    print(f"{part.name} ended with {process.poll()}; it is started again.", flush=True)
                    process.close()
                    time.sleep(RESTART_PAUSE)
                    self._parts[number] = (part, self._spawn(part))
            time.sleep(0.2)

    def close(self) -> None:
        """End everything, in reverse."""
        for _, process in reversed(self._parts):
            process.stop()
        self._servers.close()
        for port in self._ports:
            port.close()

    # -- parts ------------------------------------------------------------------------------------------------------

    def _provider(self) -> str:
        if given := self.values.get("OPENAI_BASE_URL"):
            return given
        port, page = self._port(), int(self.values.get("PROVIDER_PAGE_PORT") or 9101)
        command = [sys.executable, "-P", "-m", "grader.provider", "--port", str(port), "--page-port", str(page)]
        env = {"PYTHONPATH": str(ROOT), "PROVIDER_TOKEN": self.values["PROVIDER_TOKEN"]}
        self._run(Part("provider", command, env, self._folder, page))
        token = self.values["PROVIDER_TOKEN"]
        self.addresses["The model, its bill"] = f"http://{HOST}:{page}/?token={token}"
        return f"http://{HOST}:{port}/v1"

    def _service_env(self, model: str) -> dict[str, str]:
        """Return the variables that the Compose file passes on to the service."""
        services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
        given = {name: self.values[name] for name in services["api"]["environment"] if self.values.get(name)}
        database, redis = self._servers.postgres().url, self._servers.redis.url
        return {**given, "OPENAI_BASE_URL": model, "DATABASE_URL": database, "REDIS_URL": redis}

    def _count(self) -> int:
        count = int(self.values.get("API_REPLICAS") or 1)
        if not 1 <= count <= MOST_REPLICAS:
            raise PartFailedError(f"API_REPLICAS in .env is {count}; choose 1 to {MOST_REPLICAS}")
        return count

    def _replica(self, submission: Submission, env: Mapping[str, str], number: int) -> int:
        port = self._port()
        command = [sys.executable, "-m", "uvicorn", submission.app, "--host", HOST, "--port", str(port)]
        command += [*["--factory"] * submission.factory, "--timeout-graceful-shutdown", "8"]
        self._run(Part(f"api-{number}", command, env, submission.root, port))
        return port

    def _balancer(self, replicas: Sequence[int]) -> int:
        port, metrics = int(self.values.get("LB_PORT") or 8080), self._port()
        env = {
            "UPSTREAMS": " ".join(f"{HOST}:{replica}" for replica in replicas),
            "READY_PATH": self.values.get("READY_PATH") or "/",
            "LB_BIND": HOST,
            "LB_PORT": str(port),
            "LB_METRICS_PORT": str(metrics),
            "XDG_CONFIG_HOME": str(self._folder),
            "XDG_DATA_HOME": str(self._folder),
        }
        command = [
            str(find_caddy().path),
            "run",
            "--config",
            str(ROOT / "stack" / "Caddyfile"),
            "--adapter",
            "caddyfile",
        ]
        self._run(Part("lb", command, env, self._folder, port))
        self.addresses["Your service"] = f"http://{HOST}:{port}"
        return metrics

    def _monitoring(self, replicas: Sequence[int], metrics: int) -> None:
        prometheus = shutil.which("prometheus")
        if prometheus is None:
            self.notes.append("Prometheus is not on the PATH, so there is no monitoring; containers have it.")
            return
        home, port = self._folder / "prometheus", int(self.values.get("PROMETHEUS_PORT") or 9090)
        shutil.copytree(ROOT / "stack" / "prometheus", home, dirs_exist_ok=True)
        (home / "targets").mkdir(exist_ok=True)
        for name, ports in {"api": replicas, "lb": [metrics]}.items():
            found = [{"targets": [f"{HOST}:{each}" for each in ports]}]
            (home / "targets" / f"{name}.json").write_text(json.dumps(found))
        command = [prometheus, "--config.file", str(home / "prometheus.yml"), "--storage.tsdb.path", str(home / "data")]
        self._run(Part("prometheus", [*command, "--web.listen-address", f"{HOST}:{port}"], {}, home, port))
        self.addresses["Prometheus"] = f"http://{HOST}:{port}"
        self._grafana(port)

    def _grafana(self, prometheus: int) -> None:
        grafana, port = shutil.which("grafana"), int(self.values.get("GRAFANA_PORT") or 3000)
        if grafana is None:
            self.notes.append("Grafana is not on the PATH: Prometheus answers the dashboard's queries at /graph.")
            return
        home = self._folder / "grafana"
        home.mkdir(exist_ok=True)
        env = {
            "GF_SECURITY_ADMIN_PASSWORD": self.values["GRAFANA_PASSWORD"],
            "GF_SERVER_HTTP_ADDR": HOST,
            "GF_SERVER_HTTP_PORT": str(port),
            "GF_PATHS_DATA": str(home),
            "GF_PATHS_PROVISIONING": str(ROOT / "stack" / "grafana" / "provisioning"),
            "PROMETHEUS_URL": f"http://{HOST}:{prometheus}",
            "DASHBOARDS": str(ROOT / "stack" / "grafana" / "dashboards"),
        }
        share = Path("/usr/share/grafana")
        self._run(Part("grafana", [grafana, "server", "--homepath", str(share)], env, home, port))
        self.addresses["Grafana"] = f"http://{HOST}:{port}"

    # -- processes --------------------------------------------------------------------------------------------------

    def _port(self) -> int:
        self._ports.append(ReservedPort())
        return self._ports[-1].number

    def _spawn(self, part: Part) -> Process:
        shared = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        env = {**shared, "HOME": str(self._folder), "PYTHONUNBUFFERED": "1", "FORWARDED_ALLOW_IPS": "", **part.env}
        return self._supervisor.spawn(part.argv, env=env, cwd=part.cwd, log=self._folder / f"{part.name}.log")

    def _run(self, part: Part) -> None:
        """Start a part and wait until its port answers: the next one is started no sooner."""
        process = self._spawn(part)
        self._parts.append((part, process))
        until = time.monotonic() + START_LIMIT
        while part.port and not _answers(part.port):
            if process.wait(0.1) is not None or time.monotonic() > until:
                said = process.log.read_text(errors="replace").splitlines()[-3:]
                raise PartFailedError(f"{part.name} did not start: {' '.join(said)} (all of it: {process.log})")


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1.0):
        return True
    return False
