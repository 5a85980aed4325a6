"""SVG: charts as pictures that need no script and no network, in colours that colour-blind readers can tell apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grader.formats.element import element

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

    from grader.chart import Chart, Mark

WIDTH, HEIGHT = 640.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 12.0, 34.0, 44.0
SERIES = 4
"""How many series have a colour and a pattern of their own."""


@dataclass(frozen=True)
class Scale:
    """From the numbers of a chart to places in its picture."""

    low: float
    high: float
    top: float

    def x(self, value: float) -> float:
        """Place of a value on the horizontal scale."""
        return LEFT + (value - self.low) / (self.high - self.low or 1.0) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        """Place of a value on the vertical scale."""
        return HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)


def draw(chart: Chart) -> Element:
    """Draw the chart; the sentence is its text for those who cannot see it."""
    scale = _scale(chart)
    shapes = _steps(chart, scale) if chart.kind == "histogram" else _bars(chart, scale)
    return element(
        "svg",
        element("title", chart.title),
        element("desc", chart.sentence),
        _grid(scale),
        shapes,
        _bottom(chart, scale),
        (line for mark in chart.marks for line in _mark(mark, scale, chart)),
        _legend(chart),
        viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}",
        role="img",
        aria_label=f"{chart.title}. {chart.sentence}",
        class_="chart",
    )


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Give round numbers between two others, few enough to be read."""
    step = (high - low) / most or 1.0
    power = 10.0 ** math.floor(math.log10(step))
    width = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * 0.999)
    return [width * index for index in range(math.ceil(low / width - 1e-9), math.floor(high / width + 1e-9) + 1)]


def number(value: float) -> str:
    """Write a number as short as it is exact enough for an axis."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _scale(chart: Chart) -> Scale:
    highest = max((value for series in chart.series for value in series.values), default=0.0)
    across = chart.edges if chart.kind == "histogram" else (0.0, float(len(chart.labels)))
    marks = [mark.value for mark in chart.marks] if chart.kind == "bars" else []
    top = max([highest, *marks, 0.0]) or 1.0
    return Scale(across[0], across[-1], top * 1.08)


def _grid(scale: Scale) -> Iterator[Element]:
    for value in ticks(0, scale.top):
        y = f"{scale.y(value):.1f}"
        yield element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid")
        yield element("text", number(value), x=LEFT - 8, y=y, dy="0.35em", text_anchor="end")


def _steps(chart: Chart, scale: Scale) -> Iterator[Element]:
    """Outline each histogram, so that one behind another can still be seen."""
    for index, series in enumerate(chart.series):
        path = f"M{scale.x(chart.edges[0]):.1f},{scale.y(0):.1f}"
        for left, right, value in zip(chart.edges, chart.edges[1:], series.values, strict=False):
            path += f"L{scale.x(left):.1f},{scale.y(value):.1f}L{scale.x(right):.1f},{scale.y(value):.1f}"
        yield element(
            "path", d=f"{path}L{scale.x(chart.edges[-1]):.1f},{scale.y(0):.1f}Z", class_=f"area s{index % SERIES}"
        )


def _bars(chart: Chart, scale: Scale) -> Iterator[Element]:
    width = 0.7 / max(len(chart.series), 1)
    for index, series in enumerate(chart.series):
        for slot, value in enumerate(series.values):
            left, right = scale.x(slot + 0.15 + width * index), scale.x(slot + 0.15 + width * (index + 1))
            top = scale.y(max(value, 0.0))
            box = {"x": f"{left:.1f}", "y": f"{top:.1f}", "width": f"{right - left:.1f}"}
            yield element("rect", height=f"{scale.y(0) - top:.1f}", class_=f"bar s{index % SERIES}", **box)
            middle = f"{(left + right) / 2:.1f}"
            yield element("text", number(value), x=middle, y=f"{top - 4:.1f}", text_anchor="middle")


def _bottom(chart: Chart, scale: Scale) -> Iterator[Element]:
    y = HEIGHT - BOTTOM
    yield element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="axis")
    if chart.kind == "bars":
        places = [(scale.x(slot + 0.5), label) for slot, label in enumerate(chart.labels)]
    else:
        places = [(scale.x(value), number(value)) for value in ticks(scale.low, scale.high, 8)]
    for x, label in places:
        yield element("text", label, x=f"{x:.1f}", y=y + 16, text_anchor="middle")
    if chart.unit:
        yield element("text", chart.unit, x=(WIDTH + LEFT) / 2, y=HEIGHT - 8, text_anchor="middle", class_="unit")


def _mark(mark: Mark, scale: Scale, chart: Chart) -> Iterator[Element]:
    if chart.kind == "bars":
        y = f"{scale.y(mark.value):.1f}"
        yield element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="mark")
        yield element("text", mark.label, x=WIDTH - RIGHT, y=y, dy="-0.4em", text_anchor="end")
        return
    x = scale.x(mark.value)
    near_end = x > WIDTH * 0.75
    yield element("line", x1=f"{x:.1f}", x2=f"{x:.1f}", y1=TOP - 4, y2=HEIGHT - BOTTOM, class_="mark")
    yield element(
        "text",
        mark.label,
        x=f"{x + (-5 if near_end else 5):.1f}",
        y=TOP + 8,
        text_anchor="end" if near_end else "start",
    )


def _legend(chart: Chart) -> Iterator[Element]:
    x = LEFT
    for index, series in enumerate(chart.series):
        yield element("rect", x=f"{x:.0f}", y=8, width=12, height=12, class_=f"bar s{index % SERIES}")
        yield element("text", series.name, x=f"{x + 17:.0f}", y=18)
        x += 17 + 7.2 * len(series.name) + 22
