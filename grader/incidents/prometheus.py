"""Prometheus over the replicas of a drill, where it is on the PATH."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from grader.ports import HOST, ReservedPort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grader.supervisor import Supervisor


def watch(supervisor: Supervisor, folder: Path, urls: Sequence[str]) -> dict[str, str]:
    """Scrape the replicas every two seconds; the page under its name, or nothing where Prometheus is missing."""
    program = shutil.which("prometheus")
    if not program:
        return {}
    port = ReservedPort()
    number = port.number
    port.close()  # in the moment until Prometheus binds it nobody else is likely to
    home = folder / "prometheus"
    home.mkdir()
    targets = [{"targets": [urlsplit(url).netloc for url in urls]}]
    settings = {
        "global": {"scrape_interval": "2s", "evaluation_interval": "2s"},
        "scrape_configs": [{"job_name": "service", "static_configs": targets}],
    }
    (home / "prometheus.yml").write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    address = f"{HOST}:{number}"
    command = [program, "--config.file", str(home / "prometheus.yml"), "--storage.tsdb.path", str(home / "data")]
    supervisor.spawn(
        [*command, "--web.listen-address", address], env={"HOME": str(home)}, cwd=home, log=home / "prometheus.log"
    )
    return {"prometheus": f"http://{address}"}
