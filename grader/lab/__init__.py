"""JupyterLab as the learner's home: its settings, its pages and its tiles. `course lab` starts it.

This package is also an extension of the Jupyter server: it adds the pages below `/course`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "grader.lab"}]


def _load_jupyter_server_extension(app: ServerApp) -> None:
    from grader.lab.pages import handlers  # noqa: PLC0415 - only inside a Jupyter server

    app.web_app.add_handlers(".*$", handlers(app.web_app.settings["base_url"]))  # type: ignore[no-untyped-call]
