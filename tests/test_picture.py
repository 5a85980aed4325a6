"""Charts as lines of text and as files."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from grader.chart import Chart, Mark, bars, histogram, spark
from grader.picture import save

LATENCIES = histogram("Latency", {"yours": [1, 2, 2, 3, 9], "reference": [1, 1, 1, 2]}, "Fast.", unit="ms", bins=8)
COSTS = bars("Cost", {"paid": [1.0, 2.0], "without": [3.0, 4.0]}, ["hit", "miss"], "Cheap.", unit="$")


def test_spark_shows_the_filled_part_and_its_edges() -> None:
    line = spark(LATENCIES)
    assert line.startswith("1 ")
    assert line.endswith(" 9 ms")
    assert "█" in line


def test_spark_of_bars_has_one_sign_a_bar() -> None:
    assert spark(COSTS, 1) == "▆█"


def test_spark_of_nothing() -> None:
    assert spark(histogram("Nothing", {"none": []}, "Nothing.")) == "–"


@pytest.mark.parametrize("chart", [LATENCIES, COSTS], ids=lambda chart: chart.kind)
def test_svg_stands_by_itself(chart: Chart, tmp_path: Path) -> None:
    path = tmp_path / "chart.svg"
    save(chart, path)
    root = ET.parse(path).getroot()  # noqa: S314  # our own file
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    text = "".join(root.itertext())
    assert chart.title in text
    assert ".s0" in text


@pytest.mark.parametrize("chart", [LATENCIES, COSTS], ids=lambda chart: chart.kind)
def test_png_is_a_picture(chart: Chart, tmp_path: Path) -> None:
    marked = Chart(**{**vars(chart), "marks": (Mark(2.5, "target"),)})
    path = tmp_path / "chart.png"
    save(marked, path)
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 5000


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"chart\.gif"):
        save(LATENCIES, tmp_path / "chart.gif")
