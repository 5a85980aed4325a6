"""JupyterLab in a real browser: notebook 04 from a cold start, its report, its picture, the proxied documentation.

Needs Chromium (`apt-get install chromium`); without it the tests are skipped, unless BROWSER_REQUIRED is set. With
SCREENSHOTS=folder every view is kept as a picture, light and dark, wide and narrow.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from grader.course import ROOT

TOKEN = "for-this-test"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or ""
PATIENCE = 120_000
"""Milliseconds for a whole notebook on a busy machine."""

WIDE, NARROW = (1280, 900), (800, 900)

KERNEL_IS_IDLE = "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"

ALL_HAVE_RUN = """() => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]
  .every(prompt => /\\[\\d+\\]/.test(prompt.textContent))"""

HARMLESS = re.compile(
    r"favicon|ResizeObserver loop|Download the React DevTools|/api/(me|kernels)\b.*40[34]|status of 404.*workspace"
    r"|\[anywidget\] Failed to initialize model"  # it allows two seconds, which a busy machine takes; see run_again
)
"""What browsers and JupyterLab write into the console on a good day."""

pytestmark = [
    pytest.mark.skipif("BROWSER_TESTS" not in os.environ, reason="`make test-browser` runs these"),
    pytest.mark.skipif(not CHROMIUM and "BROWSER_REQUIRED" not in os.environ, reason="there is no Chromium"),
    pytest.mark.filterwarnings("ignore"),
]


@dataclass
class Lab:
    """A JupyterLab, as `make lab` starts it."""

    url: str
    process: subprocess.Popen[bytes]
    home: Path

    def address(self, path: str) -> str:
        """Return an address that needs no log-in."""
        return f"{self.url}{path}{'&' if '?' in path else '?'}token={TOKEN}"


@dataclass
class View:
    """A page of the browser, and what it complained about."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def shoot(self, name: str) -> None:
        """Keep a picture, if somebody wants it."""
        if folder := os.environ.get("SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(folder) / f"{name}.png")

    def resize(self, size: tuple[int, int]) -> None:
        """Change the window."""
        self.page.set_viewport_size({"width": size[0], "height": size[1]})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 90
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url, timeout=10):  # noqa: S310
            return
        time.sleep(0.2)
    pytest.fail("JupyterLab did not start")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Start JupyterLab from a cold start; at the end nothing of it may be left."""
    folder, port = tmp_path_factory.mktemp("lab"), free_port()
    for name in ("notebooks", "labs"):  # JupyterLab saves by itself, and must not save into the repository
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    env = {**os.environ, "COURSE_HOME": str(folder / "home"), "COURSE_SERVICE": str(ROOT / "solutions" / "service")}
    words = [
        "--no-browser",
        "--expose-app-in-browser",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={TOKEN}",
    ]
    command = [sys.executable, "-P", "-m", "grader.lab.command", *words]
    with (folder / "lab.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        await_answer(f"http://127.0.0.1:{port}/api?token={TOKEN}", process)
        yield Lab(f"http://127.0.0.1:{port}", process, folder / "home")
        below = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    assert not psutil.wait_procs(below, timeout=20)[1], "processes are left behind"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Open one browser for the module."""
    with sync_playwright() as driver:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        with contextlib.closing(driver.chromium.launch(executable_path=CHROMIUM, args=arguments)) as opened:
            yield opened


@pytest.fixture
def view(browser: Browser) -> Iterator[View]:
    """Open a window that remembers every complaint; a good page has none."""
    context = browser.new_context(viewport={"width": WIDE[0], "height": WIDE[1]})
    shown = View(context.new_page())

    def note(text: str) -> None:
        if not HARMLESS.search(text):
            shown.complaints.append(text)

    shown.page.on("console", lambda told: note(f"{told.text} {told.location['url']}") if told.type == "error" else None)
    shown.page.on("pageerror", lambda error: note(f"uncaught: {error}"))
    shown.page.on("requestfailed", lambda request: _note_remote(request.url, note))
    yield shown
    context.close()
    assert not shown.complaints


def _note_remote(url: str, note: object) -> None:
    if "127.0.0.1" not in url and not url.startswith(("data:", "blob:")):
        note(f"asked elsewhere: {url}")  # type: ignore[operator]


def open_notebook(lab: Lab, view: View, number: str) -> None:
    view.page.goto(lab.address(f"/lab/workspaces/lab-{number}"))
    view.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=PATIENCE)
    view.page.wait_for_function(KERNEL_IS_IDLE, timeout=PATIENCE)


def run_all(view: View) -> None:
    view.page.get_by_role("menuitem", name="Run", exact=True).click()
    view.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    view.page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="busy"]', timeout=PATIENCE)
    view.page.wait_for_function(ALL_HAVE_RUN, timeout=PATIENCE)


def run_again(view: View, source: str) -> None:
    """Run one cell anew, with the browser at rest."""
    cell = view.page.locator(".jp-CodeCell", has_text=source).first
    cell.locator(".jp-InputArea-editor").click()
    view.page.evaluate("() => jupyterapp.commands.execute('notebook:run-cell')")
    cell.locator('.fg input[type="range"]').first.wait_for(timeout=PATIENCE)


def theme(view: View, name: str) -> None:
    view.page.evaluate("name => jupyterapp.commands.execute('apputils:change-theme', {theme: name})", name)
    view.page.wait_for_selector(f'body[data-jp-theme-name="{name}"]', state="attached")


def test_notebook_04_runs_from_a_cold_start(lab: Lab, view: View) -> None:
    page = view.page
    open_notebook(lab, view, "04")
    page.wait_for_selector(".jp-MarkdownViewer h1:has-text('Lab 4')", timeout=PATIENCE)
    view.shoot("04-opened")
    assert page.locator(".Toastify__toast").count() == 0, "a question about news"

    run_all(view)
    assert page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    assert page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']").count() == 0

    report = page.locator(".grade-report").first
    report.scroll_into_view_if_needed()
    assert "passed" in (report.text_content() or "")

    run_again(view, "limiters()")
    figure = page.locator('.fg:has(input[type="range"])').first
    slider = figure.locator('input[type="range"]').first
    slider.scroll_into_view_if_needed()
    sentence = figure.locator(".fg-say").first
    before = sentence.text_content()
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "([node, before]) => node.textContent !== before", arg=[sentence.element_handle(), before], timeout=PATIENCE
    )
    for name in ("JupyterLab Light", "JupyterLab Dark"):
        theme(view, name)
        for size in (WIDE, NARROW):
            view.resize(size)
            for what, place in (("picture", figure), ("report", report), ("card", page.locator(".cw").nth(1))):
                place.scroll_into_view_if_needed()
                view.shoot(f"04-{what}-{name.split()[1].lower()}-{size[0]}")
    theme(view, "JupyterLab Light")


def test_documentation_model_and_report_have_tabs(lab: Lab, view: View) -> None:
    """Start the service in notebook 00, then look at what the tiles open."""
    page = view.page
    open_notebook(lab, view, "00")
    page.locator(".jp-CodeCell").first.click()
    page.evaluate("() => jupyterapp.commands.execute('notebook:run-cell')")
    page.wait_for_selector(".cw:has-text('runs')", timeout=PATIENCE)
    view.shoot("00-started")

    for path, wanted in (
        ("/course", "text=Next:"),
        ("/course/docs", ".opblock-summary-path:has-text('chat')"),
        ("/course/model", ":text('lab-large'):visible"),
        ("/course/report", "body"),
    ):
        page.goto(lab.address(path))
        page.wait_for_selector(wanted, timeout=PATIENCE)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            for size in (WIDE, NARROW):
                view.resize(size)
                view.shoot(f"page{path.replace('/', '-')}-{scheme}-{size[0]}")
        page.emulate_media(color_scheme="light")


def test_documentation_can_be_tried_out(lab: Lab, view: View) -> None:
    """A request sent from the documentation reaches the service by way of the proxy."""
    page = view.page
    page.goto(lab.address("/course/docs"))
    page.locator(".opblock-get .opblock-summary", has_text="/health").first.click()
    page.get_by_role("button", name="Try it out").first.click()
    page.get_by_role("button", name="Execute").first.click()
    page.wait_for_selector(".live-responses-table .response-col_status:has-text('200')", timeout=PATIENCE)


def test_launcher_has_the_tiles(lab: Lab, view: View) -> None:
    page = view.page
    open_notebook(lab, view, "00")
    page.evaluate("() => jupyterapp.commands.execute('launcher:create')")
    for title in ("Course", "Service documentation", "The model and its bill", "Last report", "Load test"):
        assert page.locator(f'.jp-LauncherCard[title^="{title}"], .jp-LauncherCard:has-text("{title}")').count(), title
    view.shoot("launcher")
