"""The course as a static site: every notebook run once, its pictures alive without a kernel. `make book` writes it."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbconvert import HTMLExporter

from grader import workspace
from grader.course import ROOT
from grader.formats.element import element
from grader.lab.pages import page

CELL_LIMIT = 300
"""Seconds for one cell on a busy machine."""

_SCRIPT = re.compile(r"<script\b[^>]*>.*?</script>", re.DOTALL)
_ELSEWHERE = re.compile(r"https://(cdn|cdnjs|unpkg)|jsdelivr|require\.min\.js")
_NOTEBOOK_LINK = re.compile(r"(\(\w+)\.ipynb\)")
_BUTTON = re.compile(r"<button data-commandlinker.*?</button>\s*")


def main(words: Sequence[str]) -> int:
    """Write the book; exit code 1 where a notebook cannot be run."""
    parser = argparse.ArgumentParser(prog="book", description="Write the course as a static site.")
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all")
    parser.add_argument("--output", type=Path, default=workspace.root() / "book", metavar="DIR")
    options = parser.parse_args(words)
    os.environ.update(COURSE_BOOK="1", COURSE_SEED="4")
    os.environ.setdefault("COURSE_SERVICE", str(ROOT / "solutions" / "service"))
    options.output.mkdir(parents=True, exist_ok=True)
    written = []
    for path in options.notebooks or sorted((workspace.root() / "notebooks").glob("*.ipynb")):
        print(f"{path.stem} …", flush=True)
        title, html = chapter(path)
        (options.output / f"{path.stem}.html").write_text(html, encoding="utf-8")
        written.append((path.stem, title))
    (options.output / "index.html").write_text(contents(written), encoding="utf-8")
    print(f"{len(written)} chapters in {workspace.short(options.output)}")
    return 0


def chapter(path: Path) -> tuple[str, str]:
    """Run a notebook and give its title and its page."""
    notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    title = str(notebook.cells[0].source).partition("\n")[0].lstrip("# ")
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=CELL_LIMIT, kernel_name="python3", resources=resources).execute()
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = for_readers(cell.source)
    exporter = HTMLExporter(theme="light", embed_images=True)  # type: ignore[no-untyped-call]
    html, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": title}})
    return title, at_home(html)


def for_readers(text: str) -> str:
    """Turn what needs JupyterLab into what a page can show: links, and diagrams as the text they are written in."""
    return _BUTTON.sub("", _NOTEBOOK_LINK.sub(r"\1.html)", text)).replace("```mermaid", "```text")


def at_home(html: str) -> str:
    """Take out the scripts that would be loaded from elsewhere; the pictures bring their own."""
    kept = _SCRIPT.sub(lambda match: "" if _ELSEWHERE.search(match.group()) else match.group(), html)
    return kept.replace("<body", '<body style="max-width: 62rem; margin: 0 auto"', 1)


def contents(chapters: Sequence[tuple[str, str]]) -> str:
    """Write the first page."""
    rows = (element("li", element("a", title, href=f"{stem}.html")) for stem, title in chapters)
    return page(
        "Production deployment",
        element("h1", "Production deployment: the course as a book"),
        element("p", "Every notebook as it runs against the finished service. The pictures can be moved here too."),
        element("ul", rows),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
