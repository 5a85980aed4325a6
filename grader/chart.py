"""Chart: numbers of a run that are better seen than read, for the HTML report and the notebooks."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kind = Literal["histogram", "bars"]


@dataclass(frozen=True)
class Series:
    """One set of numbers under one name: a count for each bin, or a value for each label."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Mark:
    """A line across the chart at a value of its scale, such as a latency target."""

    value: float
    label: str


@dataclass(frozen=True)
class Chart:
    """A picture with the sentence that says the same to a reader who cannot see it.

    A histogram has `edges`, one more than each series has counts. Bars have `labels`, one for each value.
    """

    title: str
    kind: Kind
    series: tuple[Series, ...]
    sentence: str
    unit: str = ""
    labels: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    marks: tuple[Mark, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a chart whose numbers do not fit its scale."""
        slots = len(self.edges) - 1 if self.kind == "histogram" else len(self.labels)
        if slots < 1 or any(len(series.values) != slots for series in self.series):
            raise ValueError(f"{self.title}: every series of a {self.kind} needs {max(slots, 1)} values")

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Chart:
        """Build the chart again from what `to_dict` gave."""
        return cls(
            title=data["title"],
            kind=data["kind"],
            series=tuple(Series(each["name"], tuple(each["values"])) for each in data["series"]),
            sentence=data["sentence"],
            unit=data.get("unit", ""),
            labels=tuple(data.get("labels", ())),
            edges=tuple(data.get("edges", ())),
            marks=tuple(Mark(each["value"], each["label"]) for each in data.get("marks", ())),
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the chart as plain lists and numbers."""
        return asdict(self)


def histogram(
    title: str,
    samples: Mapping[str, Sequence[float]],
    sentence: str,
    *,
    unit: str = "",
    bins: int = 24,
    marks: Sequence[Mark] = (),
) -> Chart:
    """Count the samples of each name in equal bins which all series share."""
    everything = [value for values in samples.values() for value in values] + [mark.value for mark in marks]
    low, high = min(everything, default=0.0), max(everything, default=1.0)
    width = (high - low) / bins or 1.0
    series = tuple(Series(name, _counts(values, low, width, bins)) for name, values in samples.items())
    edges = tuple(low + width * index for index in range(bins + 1))
    return Chart(title, "histogram", series, sentence, unit=unit, edges=edges, marks=tuple(marks))


def bars(
    title: str, series: Mapping[str, Sequence[float]], labels: Sequence[str], sentence: str, *, unit: str = ""
) -> Chart:
    """Draw one bar for each label and each series."""
    drawn = tuple(Series(name, tuple(values)) for name, values in series.items())
    return Chart(title, "bars", drawn, sentence, unit=unit, labels=tuple(labels))


def spark(chart: Chart, series: int = 0) -> str:
    """Draw one series of a chart as one line of text, from its first to its last slot that is not empty."""
    values = chart.series[series].values
    filled = [slot for slot, value in enumerate(values) if value]
    if not filled:
        return "–"
    shown = values[filled[0] : filled[-1] + 1]
    bars = "".join(_BARS[math.ceil(value / max(shown) * (len(_BARS) - 1))] for value in shown)
    if chart.kind == "bars":
        return bars
    return f"{chart.edges[filled[0]]:.0f} {bars} {chart.edges[filled[-1] + 1]:.0f} {chart.unit}".rstrip()


_BARS = " ▁▂▃▄▅▆▇█"


def _counts(values: Sequence[float], low: float, width: float, bins: int) -> tuple[float, ...]:
    counts = [0.0] * bins
    for value in values:
        counts[min(int((value - low) / width), bins - 1)] += 1
    return tuple(counts)
