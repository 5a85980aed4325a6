"""Pages of the course inside JupyterLab: overview, the service's documentation, the model, the last report.

They are served by the Jupyter server itself, so they are as private as it is. What runs where, a kernel tells in a file
(`grader.notebook.playing.announce`). Nothing is loaded from elsewhere: Swagger UI comes from a package.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyter_server.base.handlers import JupyterHandler
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from tornado.web import HTTPError, StaticFileHandler, authenticated

from grader.formats.element import Child, element, markup
from grader.lab.overview import overview
from grader.notebook.grading import page as report_page
from grader.notebook.playing import announcement

STYLE = Path(__file__).with_name("pages.css")

THEME = """
const told = () => { try { return parent.document.body.dataset.jpThemeLight } catch { return undefined } };
const scheme = {true: "light", false: "dark"};
const system = matchMedia("(prefers-color-scheme: dark)");
const dress = () => {
  const wanted = scheme[told()] || "", html = document.documentElement;
  html.style.colorScheme = wanted;
  html.classList.toggle("dark", (wanted || (system.matches ? "dark" : "light")) === "dark");
};
system.addEventListener("change", () => dress());
dress();
try { new MutationObserver(dress).observe(parent.document.body, {attributes: true}) } catch {}
"""
"""In a tab of JupyterLab a page follows Lab's theme, elsewhere the system's."""

SWAGGER = """
window.addEventListener("load", () => SwaggerUIBundle({
  url: "openapi.json", dom_id: "#swagger", deepLinking: true, layout: "BaseLayout", validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis], persistAuthorization: true,
}));
"""


def page(title: str, *content: Child, wide: bool = False) -> str:
    """Write a page with the course's look."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", STYLE.read_text(encoding="utf-8")),
        element("script", THEME),
    )
    main = element("main", content, class_="wide" if wide else None)
    return f"<!doctype html>\n{markup(element('html', head, element('body', main), lang='en'))}\n"


def notice(title: str, *lines: str) -> str:
    """Write a page that says what to do before there is something to see."""
    return page(title, element("h1", title), *(element("p", line) for line in lines))


def running() -> dict[str, str]:
    """Tell where service and provider of the last started notebook are; empty where none has told."""
    try:
        told: dict[str, str] = json.loads(announcement().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if Path(f"/proc/{told['kernel']}").exists() or not Path("/proc/self").exists() else {}


class _Page(JupyterHandler):
    """A page for whoever may use the server."""

    def show(self, text: str) -> None:
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(text)

    def through_proxy(self, url: str) -> str:
        """Rewrite a local address to where this server passes it on."""
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        return f"{self.base_url}proxy/{parts.port}{parts.path}{query}"


class Home(_Page):
    """Sections, progress, and what is next."""

    @authenticated
    def get(self) -> None:
        """Show the overview."""
        self.show(page("Course", *overview(self.base_url, running=bool(running()))))


class Docs(_Page):
    """Swagger UI for the running service."""

    @authenticated
    def get(self) -> None:
        """Show the documentation, or how to get one."""
        if not running():
            self.show(
                notice("No service is running", "Run the first cell of a notebook (%service start), then reload.")
            )
            return
        assets = f"{self.base_url}course/assets/"
        self.show(
            page(
                "Your service",
                element("link", rel="stylesheet", href=f"{assets}swagger-ui.css"),
                element("script", "", src=f"{assets}swagger-ui-bundle.js"),
                element("div", id="swagger"),
                element("script", SWAGGER),
                wide=True,
            )
        )


class OpenApi(_Page):
    """The running service's own description, with requests sent by way of this server."""

    @authenticated
    async def get(self) -> None:
        """Pass the description on."""
        service = running().get("service")
        if not service:
            raise HTTPError(404, "no service is running")
        try:
            answer = await AsyncHTTPClient().fetch(f"{service}/openapi.json", request_timeout=10)
            described: dict[str, Any] = json.loads(answer.body)
        except (HTTPClientError, OSError, ValueError) as problem:
            raise HTTPError(502, f"the service gives no description: {problem}") from problem
        described["servers"] = [{"url": self.through_proxy(service).rstrip("/"), "description": "your service"}]
        self.finish(described)


class ModelPage(_Page):
    """The provider's live page."""

    @authenticated
    def get(self) -> None:
        """Lead there, or say how to get one."""
        url = running().get("provider")
        if url:
            self.redirect(self.through_proxy(url))
        else:
            self.show(notice("No model is running", "Run the first cell of a notebook (%service start), then reload."))


class LastReport(_Page):
    """The report of the last `%grade`."""

    @authenticated
    def get(self) -> None:
        """Show it, or say how to get one."""
        path = report_page()
        if path.exists():
            self.show(path.read_text(encoding="utf-8").replace("</head>", f"<script>{THEME}</script></head>", 1))
        else:
            self.show(notice("Nothing has been graded yet", "Run %grade 1 in a notebook, then reload."))


def handlers(base: str) -> list[tuple[Any, ...]]:
    """Give the routes below the server's base URL."""
    found = find_spec("fastapi_offline")
    assets = str(Path(found.origin).parent / "static") if found and found.origin else ""
    return [
        (f"{base}course/?", Home),
        (f"{base}course/docs", Docs),
        (f"{base}course/openapi.json", OpenApi),
        (f"{base}course/model", ModelPage),
        (f"{base}course/report", LastReport),
        (f"{base}course/assets/(.*)", StaticFileHandler, {"path": assets}),
    ]
