"""What JupyterLab is started with: one folder of settings of the course's own, so that nothing at home is touched."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from grader import starter, workspace
from grader.course import ROOT

ICONS = Path(__file__).with_name("icons")
SOURCE = ROOT / "solutions" / "service"
CATEGORY = "Notebook"
NOWHERE = 9
"""A port for tiles whose page the Jupyter server itself serves; nothing is ever sent there."""

TILES = (
    ("course", "Course", "course"),
    ("docs", "Service documentation", "course/docs"),
    ("model", "The model and its bill", "course/model"),
    ("report", "Last report", "course/report"),
    ("locust", "Load test", "course-locust"),
)
"""Icon, title and path of each launcher tile."""

OVERRIDES = {
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": False,
    },
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}
"""No questions about news; and every cell drawn, so that the browser's search finds it."""


def write(folder: Path) -> dict[str, str]:
    """Write the settings and give the environment that names them."""
    write_json(folder / "config" / "jupyter_server_config.json", server())
    write_json(folder / "config" / "labconfig" / "default_setting_overrides.json", OVERRIDES)
    keep_workspaces(folder / "workspaces")
    return {
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }


def keep_workspaces(folder: Path) -> None:
    """Write the workspaces that are not there yet; later each is as the learner left it."""
    from jupyterlab_server.workspaces_handler import WorkspacesManager  # noqa: PLC0415 - names files as Lab does

    manager = WorkspacesManager(str(folder))
    known = {each["metadata"]["id"] for each in manager.list_workspaces()}
    for name, data in workspaces():
        if name not in known:
            manager.save(name, json.dumps(data))


def write_json(path: Path, data: object) -> None:
    """Write a file of settings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def server() -> dict[str, Any]:
    """Return the settings of the Jupyter server."""
    transport = {"KernelManager": {"transport": "ipc"}} if os.name == "posix" else {}  # no port that others can reach
    return {
        "ServerApp": {
            "root_dir": str(workspace.root()),
            "jpserver_extensions": {"grader.lab": True},
            "answer_yes": True,
        },
        "LabApp": {"default_url": "/lab/workspaces/lab-00"},
        "ServerProxy": {"servers": {f"course-{icon}": tile(icon, title, path) for icon, title, path in TILES}},
        **transport,
    }


def tile(icon: str, title: str, path: str) -> dict[str, Any]:
    """Return a launcher tile; only the load test has a process behind it."""
    command = [sys.executable, "-P", "-m", "grader.lab.loading", "{port}", "{base_url}"]
    behind = {"command": command} if icon == "locust" else {"port": NOWHERE}
    return {
        **behind,
        "environment": {"PYTHONPATH": str(ROOT)},
        "timeout": 30,
        "absolute_url": True,
        "new_browser_tab": False,
        "launcher_entry": {
            "title": title,
            "path_info": path,
            "category": CATEGORY,
            "icon_path": str(ICONS / f"{icon}.svg"),
        },
    }


def workspaces() -> Iterable[tuple[str, dict[str, Any]]]:
    """Give name and content of a workspace for every notebook: it stands left, brief and code right."""
    root = workspace.root()
    for notebook in sorted((root / "notebooks").glob("*.ipynb")):
        number = int(notebook.stem[:2])
        brief = root / "labs" / f"{notebook.stem}.md"
        shown = brief if brief.exists() else root / "labs" / "README.md"
        name = f"lab-{number:02}"
        yield name, layout(name, *(str(path.relative_to(root)) for path in (notebook, shown, *code_of(number))))


def code_of(number: int) -> list[Path]:
    """Return the files of the learner's service in which a lab has most to write: at most two."""
    folder = workspace.root() / workspace.SERVICE
    marked = [path for path in sorted((SOURCE / "app").glob("*.py")) if number in starter.labs_in(path)]
    marked.sort(key=lambda path: -path.read_text(encoding="utf-8").count(f"BEGIN SOLUTION {number}:"))
    found = [folder / "app" / path.name for path in marked if (folder / "app" / path.name).exists()]
    return found[:2]


def layout(name: str, notebook: str, brief: str, *code: str) -> dict[str, Any]:
    """Write a workspace as JupyterLab saves it."""
    widgets = {
        f"notebook:{notebook}": {"path": notebook, "factory": "Notebook"},
        f"markdownviewer-widget:{brief}": {"path": brief, "factory": "Markdown Preview"},
        **{f"editor:{path}": {"path": path, "factory": "Editor"} for path in code},
    }
    first, *others = widgets
    areas = [{"type": "tab-area", "currentIndex": 0, "widgets": part} for part in ([first], others)]
    dock = {"type": "split-area", "orientation": "horizontal", "sizes": [0.62, 0.38], "children": areas}
    side: dict[str, Any] = {"collapsed": True, "visible": True, "current": None, "widgets": []}
    restored = {
        "main": {"dock": dock, "current": first},
        "left": {**side, "widgets": ["filebrowser", "running-sessions", "@jupyterlab/toc:plugin"]},
        "right": side,
        "down": {"size": 0, "widgets": []},
        "relativeSizes": [0, 1, 0],
    }
    data = {widget: {"data": facts} for widget, facts in widgets.items()}
    return {"data": {"layout-restorer:data": restored, **data}, "metadata": {"id": name}}
