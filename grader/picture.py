"""Picture: a chart as a file for notebooks and slides, SVG or PNG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from grader.formats.element import element
from grader.formats.svg import HEIGHT, WIDTH, draw, number

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from grader.chart import Chart

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
"""Okabe and Ito's, which colour-blind readers can tell apart."""

_STYLE = "text{font:12px system-ui,sans-serif;fill:#222}.grid{stroke:#ddd}.axis{stroke:#888}" + (
    ".mark{stroke:#222;stroke-dasharray:2 3}.bar,.area{stroke-width:1.8;fill-opacity:.25}"
    + "".join(f".s{index}{{fill:{colour};stroke:{colour}}}" for index, colour in enumerate(COLOURS))
)


def save(chart: Chart, path: Path) -> None:
    """Write the chart to a file that ends in ``.svg`` or ``.png``. Raises ``ValueError`` for another ending."""
    writers: dict[str, Callable[[Chart, Path], None]] = {".svg": _save_svg, ".png": _save_png}
    if path.suffix not in writers:
        raise ValueError(f"{path.name}: a picture ends in .svg or .png")
    writers[path.suffix](chart, path)


def _save_svg(chart: Chart, path: Path) -> None:
    drawn = draw(chart)
    drawn.set("xmlns", "http://www.w3.org/2000/svg")
    drawn.insert(0, element("style", _STYLE))
    path.write_text(ET.tostring(drawn, encoding="unicode"), encoding="utf-8")


def _save_png(chart: Chart, path: Path) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415  # a second, for those who want a PNG

    figure = Figure(figsize=(WIDTH / 80, HEIGHT / 80), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    (_steps if chart.kind == "histogram" else _bars)(axes, chart)
    for mark in chart.marks:
        line = axes.axvline if chart.kind == "histogram" else axes.axhline
        line(mark.value, color="#222", linestyle=":", label=mark.label)
    axes.set_title(chart.title, loc="left", fontsize=10)
    axes.set_xlabel(chart.unit)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Description": chart.sentence})


def _steps(axes: Axes, chart: Chart) -> None:
    for series, colour in zip(chart.series, COLOURS, strict=False):
        axes.stairs(series.values, chart.edges, color=colour, fill=True, alpha=0.3, label=series.name)


def _bars(axes: Axes, chart: Chart) -> None:
    width = 0.7 / len(chart.series)
    for index, (series, colour) in enumerate(zip(chart.series, COLOURS, strict=False)):
        places = [slot - 0.35 + width * (index + 0.5) for slot in range(len(chart.labels))]
        drawn = axes.bar(places, series.values, width, color=colour, alpha=0.6, label=series.name)
        axes.bar_label(drawn, [number(value) for value in series.values], fontsize=7)
    axes.set_xticks(range(len(chart.labels)), chart.labels)
