from __future__ import annotations

import io
import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema  # type: ignore[import-untyped]
import pytest
from rich.console import Console

from grader.chart import Chart
from grader.formats import FORMATS, SUFFIXES, View, html, render, sentences
from grader.formats.curl import curl_lines
from grader.formats.live import LiveProgress, PlainProgress
from grader.formats.svg import ticks
from grader.formats.terminal import show
from grader.formats.visible import visible, visible_report
from grader.report import LabResult, Outcome, Report
from tests import examples
from tests.conftest import Golden

SCHEMA = json.loads((Path(html.__file__).parent.parent / "report.schema.json").read_text())
VIEW = View(hints={(4, "allowance_runs_out"): 1}, following="05_caching")
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
REPORTS: dict[str, Report] = {
    "rich": examples.rich(),
    "passed": examples.passed(),
    "not_started": examples.not_started(),
    "hostile": examples.hostile(),
    "empty": Report(),
}


@pytest.fixture(params=REPORTS)
def report(request: pytest.FixtureRequest) -> Report:
    return REPORTS[str(request.param)]


@pytest.mark.parametrize("name", ["rich", "passed", "not_started"])
def test_terminal_as_a_learner_sees_it(name: str, golden: Golden) -> None:
    golden(f"{name}.txt", render(REPORTS[name], "terminal", VIEW))


def test_terminal_in_full(golden: Golden) -> None:
    golden("rich-verbose.txt", render(REPORTS["rich"], "terminal", replace(VIEW, verbose=True)))


def test_terminal_in_a_narrow_window(golden: Golden) -> None:
    golden("rich-narrow.txt", render(REPORTS["rich"], "terminal", replace(VIEW, width=44)))


@pytest.mark.parametrize(("format_", "ending"), [("markdown", "md"), ("junit", "xml"), ("json", "json")])
def test_machine_formats_as_they_are_read(format_: str, ending: str, golden: Golden) -> None:
    golden(f"rich.{ending}", render(REPORTS["rich"], format_, VIEW))


def test_html_as_it_is_read(golden: Golden) -> None:
    page = re.sub(r"<style>.*?</style>", "", render(REPORTS["rich"], "html", VIEW), flags=re.DOTALL)
    golden("rich.html", page.replace("><", ">\n<"))


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_tells_of_every_report(report: Report, format_: str) -> None:
    text = render(report, format_, VIEW)

    assert text.endswith("\n")
    text.encode()
    assert str(report.seed) in text


@pytest.mark.parametrize("format_", sorted(set(FORMATS) - {"json"}))
def test_no_format_lets_control_characters_through(format_: str) -> None:
    assert not CONTROL.search(render(REPORTS["hostile"], format_, VIEW))


def test_json_is_plain_ascii_and_keeps_what_was_said() -> None:
    text = render(REPORTS["hostile"], "json", VIEW)

    assert text.isascii()
    assert json.loads(text)["labs"][0]["checks"][0]["message"] == examples.HOSTILE


def test_json_follows_the_schema(report: Report) -> None:
    validator = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
    validator.validate(json.loads(render(report, "json")))


def test_the_schema_is_itself_valid_and_describes_every_field() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    assert list(_undescribed(json.loads(render(REPORTS["rich"], "json")), SCHEMA)) == []


@pytest.mark.parametrize("change", [{"outcome": "fine"}, {"points": -1}, {"seed": "7"}, {"labs": [{"number": 1}]}])
def test_the_schema_refuses_what_is_wrong(change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(REPORTS["rich"].to_dict() | change, SCHEMA)


def test_junit_counts_what_it_holds(report: Report) -> None:
    root = ET.fromstring(render(report, "junit").encode())  # noqa: S314 - our own text

    assert root.tag == "testsuites"
    for element in [root, *root.iter("testsuite")]:
        cases = list(element.iter("testcase"))
        assert int(element.attrib["tests"]) == len(cases)
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(element.attrib[attribute]) == len(list(element.iter(tag)))
    for case in root.iter("testcase"):
        assert {"classname", "name", "time"} <= set(case.attrib)
        assert {child.tag for child in case} <= {"failure", "error", "skipped", "system-out"}


def test_html_is_whole_and_loads_and_runs_nothing(report: Report) -> None:
    reader = Reader()
    reader.feed(render(report, "html", VIEW))

    assert reader.open == []
    assert not reader.tags & {"script", "iframe", "img", "link", "object", "embed", "form", "base"}
    assert not {name for name in reader.attributes if name.startswith("on")}
    assert all(re.fullmatch(r"#lab-\d+|[\w./#-]+", link) for link in reader.links)


def test_html_headings_go_down_one_level_at_a_time() -> None:
    reader = Reader()
    reader.feed(render(REPORTS["rich"], "html", VIEW))
    levels = [int(tag[1]) for tag in reader.order if re.fullmatch(r"h\d", tag)]

    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_html_charts_say_what_they_show() -> None:
    page = render(REPORTS["rich"], "html", VIEW)

    for chart in REPORTS["rich"].charts:
        assert page.count(chart.sentence) >= 2
    assert page.count("<svg") == 2


def test_html_links_lead_to_the_root() -> None:
    assert 'href="../../notebooks/04_rate_limiting.ipynb"' in render(
        REPORTS["rich"], "html", replace(VIEW, base="../../")
    )


def test_html_does_not_link_a_section_that_is_no_path() -> None:
    lab = LabResult(4, "rate_limiting", "Title", (replace(examples.RUNS_OUT, section="javascript:alert(1)"),))

    assert "href" not in render(Report(labs=(lab,)), "html").split("</style>")[1].replace('href="labs/', "")


def test_html_fragment_has_no_page_around_it() -> None:
    text = html.fragment(visible_report(REPORTS["rich"]), VIEW)

    assert text.startswith("<div><style>")
    assert "<html" not in text


def test_markdown_keeps_strangers_words_in_code() -> None:
    text = render(REPORTS["hostile"], "markdown", VIEW)
    prose = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", text, flags=re.DOTALL | re.MULTILINE)

    assert "<script" not in prose
    assert not re.search(r"(?<!\\)\[link\]|@everyone|^# heading", prose, re.MULTILINE)


def test_markdown_fits_into_a_comment() -> None:
    long = replace(examples.RUNS_OUT, log=("x" * 2000,) * 20)
    text = render(Report(labs=(LabResult(4, "rate_limiting", "Title", (long,) * 5),)), "markdown")

    assert len(text) < 65_536
    assert "4 more checks is left out" in text


@pytest.mark.parametrize("width", [10, 20, 44, 59, 60, 80, 200])
def test_terminal_lines_fit_the_width(width: int) -> None:
    lines = render(REPORTS["rich"], "terminal", replace(VIEW, width=width)).splitlines()
    meant_to_be_copied = re.compile(r"-d '\{|-H '|curl -i|http://|^Repeat|^Lab +\d")

    assert [line for line in lines if len(line) > max(width, 24) and not meant_to_be_copied.search(line)] == []


def test_terminal_falls_back_to_ascii() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    show(REPORTS["rich"], VIEW, Console(file=stream, width=80))
    stream.seek(0)
    text = stream.read()

    assert "  x FAIL   0/3  A caller's eleventh" in text
    assert "  + pass   2/2" in text
    assert "\\u" not in text


def test_terminal_colours_nothing_but_what_words_say_too() -> None:
    stream = io.StringIO()
    show(
        REPORTS["rich"],
        VIEW,
        Console(file=stream, width=80, force_terminal=True, color_system="standard", no_color=False),
    )
    coloured = stream.getvalue()

    assert "\x1b[1;31m✗ FAIL" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == render(REPORTS["rich"], "terminal", VIEW)


def test_a_strange_service_cannot_write_lines_of_the_report() -> None:
    text = render(replace(REPORTS["hostile"], notes=(), problem=None), "terminal", VIEW)

    assert [line for line in text.splitlines() if line.startswith(("#", "[link", "<script", "|"))] == []


@pytest.mark.parametrize(
    ("report_", "next_"),
    [
        (REPORTS["passed"], "open labs/05_caching.md, then run: grade 5"),
        (REPORTS["not_started"], "Correct the import, or install the package."),
        (REPORTS["rich"], "mend the first failed check of lab 4; its brief is labs/04_rate_limiting.md"),
        (Report(), "nothing was graded; choose labs with: grade list"),
    ],
)
def test_the_last_lines_say_what_to_do_next(report_: Report, next_: str) -> None:
    assert sentences.next_steps(report_, VIEW)[0] == next_


@pytest.mark.parametrize(
    ("outcome", "next_"),
    [(Outcome.ERROR, "grade doctor"), (Outcome.INCONCLUSIVE, "run it again"), (Outcome.SKIPPED, "mend the first")],
)
def test_next_for_a_lab_of_one_outcome(outcome: Outcome, next_: str) -> None:
    lab = LabResult(4, "rate_limiting", "Title", (examples.check("only", outcome),))

    assert next_ in sentences.next_steps(Report(labs=(lab,)), VIEW)[0]


def test_no_hint_is_offered_when_all_were_shown() -> None:
    steps = sentences.next_steps(REPORTS["rich"], View(hints={(4, "allowance_runs_out"): 3}))

    assert not any("--hint" in step for step in steps)


def test_long_curl_lines_can_still_be_pasted() -> None:
    command = examples.REFUSED.curl
    lines = curl_lines(command, 60)

    assert len(lines) > 1
    assert all(line.endswith(" \\") for line in lines[:-1])
    assert all(line.startswith("  -") for line in lines[1:])
    assert " ".join(line.removesuffix(" \\").strip() for line in lines) == command
    assert any(line.strip().startswith("-d '{") for line in lines)


@pytest.mark.parametrize("command", ["curl 'unclosed " + "x" * 80, "curl  two-spaces" + "x" * 80, "short"])
def test_curl_lines_that_cannot_be_read_stay_whole(command: str) -> None:
    assert curl_lines(command, 60) == [command]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\r\nb\rc", "a\nb\\rc"),
        ("\u202eabc", "\\u202eabc"),
        ("tab\tüñ✓\n", "tab\tüñ✓\n"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 43, [0, 10, 20, 30, 40]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (95, 105, [96, 98, 100, 102, 104]),
        (3, 3, [3.0]),
    ],
)
def test_ticks_are_round_and_few(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_chart_without_numbers_can_be_drawn() -> None:
    empty = Chart("Title", "histogram", (), "Nothing was measured.", edges=(0.0, 0.0))

    assert "Nothing was measured." in render(Report(charts=(empty,)), "html")


def test_live_lines_fit_the_screen_and_show_what_runs() -> None:
    for width in (30, 60, 100):
        console = Console(file=io.StringIO(), width=width, force_terminal=True)
        live = LiveProgress(console)
        _drive(live)
        lines = _plain(console, live)
        assert all(len(line) <= width for line in lines)
        assert "✓✗" in lines[1]


def test_live_shows_load_checks_in_the_line_of_their_lab() -> None:
    live = LiveProgress(Console(file=io.StringIO(), width=100, force_terminal=True))
    _drive(live)
    live.lab_started(4, "rate_limiting", "Rate limiting", 2)

    assert (live.rows[4].total, len(live.rows[4].results)) == (5, 2)


def test_plain_progress_tells_of_each_lab_once() -> None:
    stream = io.StringIO()
    with PlainProgress(stream) as plain:
        _drive(plain)
        plain.check_finished(examples.check("last", Outcome.PASSED))

    assert re.fullmatch(r"lab 4 done: 4/7 points, \d\.\d s\n", stream.getvalue())


def test_every_suffix_has_a_format() -> None:
    assert set(SUFFIXES.values()) == set(FORMATS)


class Reader(HTMLParser):
    """Keeps what a test asks of a page, and the tags left open."""

    VOID = frozenset({"meta", "br", "hr", "input", "link", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.order: list[str] = []
        self.attributes: set[str] = set()
        self.links: list[str] = []

    @property
    def tags(self) -> set[str]:
        return set(self.order)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.order.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _undescribed(value: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """Paths of fields that no `properties` of the schema names."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    if "oneOf" in schema:
        return _undescribed(value, schema["oneOf"][1], path)
    if isinstance(value, list):
        return [each for item in value for each in _undescribed(item, schema["items"], f"{path}[]")]
    if not isinstance(value, dict) or "additionalProperties" in schema:
        return []
    unknown = [f"{path}.{name}" for name in value if name not in schema["properties"]]
    known = ((name, each) for name, each in value.items() if name in schema["properties"])
    return unknown + [
        deep for name, each in known for deep in _undescribed(each, schema["properties"][name], f"{path}.{name}")
    ]


def _drive(progress: LiveProgress | PlainProgress) -> None:
    progress.phase("checks")
    progress.lab_started(4, "rate_limiting", "Rate limiting", 3)
    progress.check_finished(examples.check("first", Outcome.PASSED))
    progress.check_started(4, "second", "A \x1b[2J promise.")
    progress.check_finished(examples.RUNS_OUT)
    progress.check_started(4, "third", "A \x1b[2J promise.")


def _plain(console: Console, live: LiveProgress) -> list[str]:
    with console.capture() as capture:
        console.print(live.draw())
    return re.sub(r"\x1b\[[\d;]*m", "", capture.get()).splitlines()
