"""Load balancer: a real Caddy before replicas, which leaves out those that are not ready."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from grader.parts import PartFailedError, find_caddy
from grader.ports import HOST, ReservedPort
from grader.spool import size_of, tail

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from grader.supervisor import Supervisor

START_LIMIT = 15.0
"""Seconds for the load balancer to be ready, on a machine that is busy."""

SERVED_BY = "x-served-by"
"""Header of each answer that names the replica, as ``host:port``."""

_READY = "serving initial configuration"
_HEALTH = "health_checker.active"
_RECOVERED = "host is up"


def _about(port: int) -> str:
    return f'"host":"{HOST}:{port}"'


class LoadBalancer:
    """Caddy on a port of its own: round robin over the replicas that answer their readiness path with 2xx.

    A request that could not reach its replica goes to another one, and so does a GET that got no answer.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        directory: Path,
        ports: Sequence[int],
        *,
        health_path: str = "/readyz",
        interval: float = 0.2,
    ) -> None:
        """Start it before the replicas on ``ports``, whose health is asked for every ``interval`` seconds.

        Raises ``PartMissingError`` and ``PartFailedError``.
        """
        program = find_caddy()
        self.source, self.version = program.source, program.version
        self._port = ReservedPort()
        self.port = self._port.number
        self.url = f"http://{HOST}:{self.port}"
        home = directory / f"caddy-{self.port}"
        home.mkdir(parents=True)
        settings = home / "caddy.json"
        settings.write_text(json.dumps(_settings(self.port, ports, health_path, interval, home)))
        self._process = supervisor.spawn(
            [str(program.path), "run", "--config", str(settings)],
            env={"HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_DATA_HOME": str(home)},
            cwd=home,
            log=home / "caddy.log",
        )
        if not self._process.wait_for_output(_READY, START_LIMIT):
            self.close()
            said = self._process.log.read_text(errors="replace")[-500:]
            raise PartFailedError(f"Caddy did not start: {said}")

    def wait_until_out(self, port: int, timeout: float) -> bool:
        """Wait until the replica on a port gets no more requests, as it was found unready."""
        return self._wait_until(port, timeout, ready=False)

    def wait_until_in(self, port: int, timeout: float) -> bool:
        """Wait until the replica on a port gets requests (again)."""
        return self._wait_until(port, timeout, ready=True)

    def _wait_until(self, port: int, timeout: float, *, ready: bool) -> bool:
        until = time.monotonic() + timeout
        while True:
            written = size_of(self._process.log)
            if self._counts_as_ready(port) is ready:
                return True
            left = until - time.monotonic()
            if left <= 0:
                return False
            self._process.wait_for_output(_about(port), left, since=written)

    def _counts_as_ready(self, port: int) -> bool:
        """Tell from the last health record of a replica; Caddy trusts those of which it knows nothing."""
        records = (line for line in tail(self._process.log).splitlines() if _HEALTH in line and _about(port) in line)
        last = next(iter(deque(records, maxlen=1)), _RECOVERED)
        return _RECOVERED in last

    def close(self) -> None:
        """End it."""
        self._process.stop(grace=1.0)
        self._port.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _settings(port: int, replicas: Sequence[int], health_path: str, interval: float, home: Path) -> dict[str, Any]:
    """Return Caddy's own configuration, https://caddyserver.com/docs/json/."""
    pause = f"{round(interval * 1000)}ms"
    balance = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"{HOST}:{replica}"} for replica in replicas],
        "load_balancing": {
            "selection_policy": {"policy": "round_robin"},
            "try_duration": "2s",
            "try_interval": "20ms",
        },
        "health_checks": {
            "active": {"uri": health_path, "interval": pause, "timeout": "1s", "fails": 1, "passes": 1},
            "passive": {"fail_duration": pause, "max_fails": 1},
        },
        "headers": {"response": {"set": {SERVED_BY: ["{http.reverse_proxy.upstream.hostport}"]}}},
    }
    server = {
        "listen": [f"{HOST}:{port}"],
        "automatic_https": {"disable": True},
        "protocols": ["h1"],
        "routes": [{"handle": [balance]}],
    }
    return {
        "admin": {"disabled": True, "config": {"persist": False}},
        "storage": {"module": "file_system", "root": str(home)},
        "logging": {"logs": {"default": {"encoder": {"format": "json"}}}},
        "apps": {"http": {"grace_period": "1s", "servers": {"balancer": server}}},
    }
