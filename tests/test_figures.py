"""The pictures: exact simulations, widgets without a front end, JavaScript that parses and stays at home."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import grader.figures as pictures
from grader.figures import (
    architecture,
    caching,
    capacity,
    concurrency,
    controls,
    deploys,
    identity,
    incidents,
    latency,
    limits,
    overview,
    page,
    queueing,
    resilience,
    similarity,
    theme,
    trails,
)
from grader.figures.quiz import Quiz

FOLDER = Path(pictures.__file__).parent
SCRIPTS = sorted((FOLDER / "js").glob("*.js"))
WIDGETS = ("Progress", "Quiz")
NAMES = [name for name in pictures.__all__ if name not in WIDGETS]

times = st.lists(st.floats(0, 100, allow_nan=False, width=32), max_size=80).map(sorted)
limit = st.integers(1, 12)
window = st.floats(1, 30, width=32)


def kept(arrivals: list[float], passed: list[bool]) -> list[float]:
    return [at for at, ok in zip(arrivals, passed, strict=True) if ok]


# Section 4: limiters


@given(times, limit, window)
def test_fixed_window_never_passes_more_than_twice_the_limit(arrivals: list[float], n: int, w: float) -> None:
    passed = kept(arrivals, limits.fixed_window(arrivals, n, w))
    assert limits.busiest(passed, w)[0] <= 2 * n
    assert all(sum(int(at // w) == slot for at in passed) <= n for slot in {int(at // w) for at in passed})


@given(times, limit, window)
def test_sliding_window_never_passes_more_than_the_limit(arrivals: list[float], n: int, w: float) -> None:
    passed = limits.sliding_window(arrivals, n, w)
    assert limits.busiest(kept(arrivals, passed), w)[0] <= n
    for i, at in enumerate(arrivals):
        before = sum(ok and at - w < t for t, ok in zip(arrivals[:i], passed[:i], strict=True))
        assert passed[i] == (before < n)


@given(times, limit, window)
def test_bucket_never_overspends_and_gcra_decides_alike(arrivals: list[float], n: int, w: float) -> None:
    passed, levels = limits.token_bucket(arrivals, n, n / w)
    assert all(-1e-9 <= level <= n for level in levels)
    assert passed == limits.gcra(arrivals, n, w)
    took = kept(arrivals, passed)
    assert all(
        j - i + 1 <= n + (took[j] - took[i]) * n / w + 1e-6 for i in range(len(took)) for j in range(i, len(took))
    )


def test_edge_of_the_window_doubles_the_fixed_limit_only() -> None:
    for n, w in product(range(1, 21), range(5, 65, 5)):
        verdicts = limits.judge(arrivals := limits.pattern("edge", n, w, []), n, w)
        assert limits.busiest(kept(arrivals, verdicts["fixed"]), w)[0] == 2 * n
        assert limits.busiest(kept(arrivals, verdicts["sliding"]), w)[0] == n


@given(st.lists(st.tuples(st.floats(0, 50, width=32), st.integers(-100, 60)), max_size=40).map(sorted))
def test_checked_bucket_refuses_what_is_not_a_cost(costs: list[tuple[float, float]]) -> None:
    steps = limits.spend(costs, 40, 4, checked=True)
    assert all(0 <= after <= before <= 40 for _, before, after, _ in steps)
    assert not any(ok and not 1 <= cost <= 40 for (_, cost), (*_, ok) in zip(costs, steps, strict=True))


def test_unchecked_bucket_gains_by_a_negative_cost() -> None:
    (_, before, after, ok), *_ = limits.spend([(1.0, -100.0)], 40, 4, checked=False)
    assert ok
    assert after == before + 100


# Sections 1 and 2


@given(st.sampled_from(sorted(architecture.REQUESTS)), st.sets(st.sampled_from(architecture.PARTS["prod"])))
def test_losing_more_parts_never_helps(kind: str, down: set[str]) -> None:
    rank = {"good": 2, "degraded": 1, "lost": 0}
    now = architecture.production(kind, down)
    assert (now.status in {0, 503}) == (now.grade == "lost")
    for part in architecture.PARTS["prod"]:
        assert rank[architecture.production(kind, down | {part}).grade] <= rank[now.grade]
    assert all(hop.lost == (hop.target in down) for hop in now.hops if hop.source not in {"metrics", "balancer"})


def test_what_survives_is_what_the_contract_says() -> None:
    status = {
        (kind, part): architecture.production(kind, {part}).status
        for kind in architecture.REQUESTS
        for part in architecture.PARTS["prod"]
    }
    assert status["chat", "redis"] == status["chat", "database"] == status["chat", "lab-large"] == 200
    assert status["login", "database"] == status["protected", "database"] == status["async", "database"] == 503
    assert status["async", "redis"] == 503
    assert all(status[kind, "balancer"] == 0 and status[kind, "api 1"] in {200, 202} for kind in architecture.REQUESTS)
    assert architecture.development("chat", {"lab-large"}).status == 500


@given(st.integers(1, 60), st.floats(0.01, 5), st.integers(1, 60))
def test_loop_serves_one_by_one_and_a_pool_no_more_than_its_threads(n: int, provider: float, threads: int) -> None:
    one = concurrency.blocking(n, provider)
    assert all(a.done <= b.begin + 1e-9 for a, b in pairwise(one))
    assert math.isclose(one[-1].done, n * (provider + concurrency.CPU))
    pool = concurrency.threading(n, provider, threads)
    starts_and_ends = sorted([(s.begin + 1e-9, 1) for s in pool] + [(s.end, -1) for s in pool])
    busy = [0]
    for _, step in starts_and_ends:
        busy.append(busy[-1] + step)
    assert max(busy) <= threads
    assert concurrency.awaiting(n, provider)[-1].done <= pool[-1].done + n * concurrency.CPU


def test_measured_order_of_the_three_handlers() -> None:
    ends = [
        max(s.done for s in run)
        for run in (concurrency.blocking(20, 0.2), concurrency.awaiting(20, 0.2), concurrency.threading(20, 0.2, 40))
    ]
    assert [round(end, 1) for end in ends] == [4.1, 0.2, 0.2]  # measured: 4.04, 0.28, 0.24


def test_streamed_text_begins_long_before_it_is_whole() -> None:
    assert concurrency.token_times(100, 0.5, 20)[0] == 0.5
    assert concurrency.token_times(100, 0.5, 20)[-1] == pytest.approx(5.45)
    paid = [pictures.streaming(leave=0.3, stop=stop).view["scene"]["made"] for stop in ("yes", "")]
    assert paid[0] < paid[1] == 100


# Section 3


def verdicts(**start: object) -> list[str]:
    return [verdict["why"] for verdict in pictures.jwt_parts(**start).view["scene"]["verdicts"]]


@pytest.mark.parametrize(
    ("start", "fooled", "reason"),
    [
        ({}, 3, ""),
        (
            {"sender": "keep", "claims": '{"sub": "ada", "role": "admin", "iss": "course", "aud": "assistant"}'},
            1,
            "signature",
        ),
        ({"sender": "keep"}, 3, ""),
        ({"sender": "guess"}, 1, "signature"),
        ({"sender": "none"}, 1, "algorithm"),
        ({"sender": "HS512"}, 2, "algorithm"),
        ({"expires": -600}, 2, "past"),
        ({"endless": True}, 2, "exp is missing"),
        ({"claims": '{"sub": "ada", "iss": "course", "aud": "payroll"}'}, 2, "aud"),
        ({"claims": '{"sub": "ada", "iss": "elsewhere", "aud": "assistant"}'}, 2, "iss"),
        ({"claims": '{"iss": "course", "aud": "assistant"}'}, 2, "sub is missing"),
        ({"claims": "not json"}, 0, "claims"),
        ({"claims": "[1, 2]"}, 0, "claims"),
    ],
)
def test_token_is_judged_with_the_reason(start: dict[str, object], fooled: int, reason: str) -> None:
    why = verdicts(**start)
    assert sum(not text for text in why) == fooled
    assert reason in why[2]
    assert bool(why[2]) == bool(reason)


@given(st.text(max_size=80), st.sampled_from(sorted(identity.SENDERS)), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_payload_gets_a_verdict(claims: str, sender: str, endless: bool) -> None:
    why = verdicts(claims=claims, sender=sender, endless=endless)
    assert why[2]  # nothing a stranger types here is a valid set of claims for this service


def test_roles_are_an_order() -> None:
    statuses = {
        c: [identity.answer(c, needs, "order")[0] for needs in identity.ROUTES.values()] for c in identity.CALLERS
    }
    assert statuses["admin"] == [200] * 4
    assert statuses["guest"] == [200, 403, 403, 403]
    assert statuses["nobody"] == statuses["bad token"] == [401] * 4
    assert identity.answer("admin", "user", "equal")[0] == 403


# Section 5


@given(st.integers(1, 400), st.floats(0, 1.6), st.floats(0.001, 5), st.floats(1, 1e5))
def test_hit_rate_grows_with_lifetime(questions: int, skew: float, rate: float, ttl: float) -> None:
    shares = caching.popularity(questions, skew)
    assert math.isclose(sum(shares), 1)
    assert 0 < caching.hit_rate(shares, rate, ttl) < caching.hit_rate(shares, rate, 2 * ttl) < 1


def test_hit_rate_formula_agrees_with_the_played_day() -> None:
    shares = caching.popularity(50, 1.0)
    hits, played = caching.day_of_hits(shares, 0.2, 120)
    assert hits / played == pytest.approx(caching.hit_rate(shares, 0.2, 120), abs=0.02)


@given(times, st.floats(0.1, 5))
def test_single_flight_pays_once_and_delays_nobody(arrivals: list[float], provider: float) -> None:
    alone, shared = (caching.stampede_of(arrivals, provider, shared=s) for s in (False, True))
    assert sum(a.did == "calls" for a in shared) == min(1, len(arrivals))
    assert all(b.done <= a.done for a, b in zip(alone, shared, strict=True))


@given(st.floats(0.4, 1), st.floats(0, 100), st.booleans())
def test_best_threshold_is_best(threshold: float, harm: float, guard: bool) -> None:
    best = similarity.best_threshold(similarity.MEASURED, harm, guard=guard)
    worth = 0.0 if best is None else similarity.saving(similarity.MEASURED, best, harm, guard=guard)
    assert worth >= similarity.saving(similarity.MEASURED, threshold, harm, guard=guard)


def test_guard_parts_numbers_and_negations_only() -> None:
    parted = [pair for pair in similarity.MEASURED if similarity.unlike(pair)]
    assert not any(pair.same for pair in parted)
    assert {pair.second for pair in parted} >= {
        "What was our revenue in 2024?",
        "I cannot log in",
        "Convert 900 dollars to euros",
    }


def test_own_table_of_pairs() -> None:
    figure = pictures.semantic_threshold([("a", "b", 0.9, True), ("a", "c", 0.8, False)], threshold=0.85)
    assert "1 of 1 paraphrases" in figure.words()
    assert "0 of 1 other" in figure.words()


# Section 6


@given(
    st.lists(st.floats(0.001, 60), min_size=1, max_size=200).map(sorted),
    st.floats(0.01, 0.999),
    st.sampled_from(sorted(latency.LAYOUTS)),
)
def test_histogram_quantile_lies_in_the_bucket_of_the_true_one(values: list[float], q: float, layout: str) -> None:
    bounds = latency.LAYOUTS[layout]
    true, guess = (
        latency.percentile(values, q),
        latency.histogram_quantile(q, bounds, latency.cumulative(values, bounds)),
    )
    edges = [0.0, *bounds, math.inf]
    low, high = next((a, b) for a, b in pairwise(edges) if a < true <= b)
    assert low <= guess <= min(high, bounds[-1]) or guess == bounds[-1]
    assert sum(v <= true for v in values) >= q * len(values) - 1e-9


def test_histogram_quantile_as_prometheus_documents_it() -> None:
    assert latency.histogram_quantile(0.9, (1.0, 2.0), [90, 100, 100]) == 1.0
    assert latency.histogram_quantile(0.5, (1.0, 2.0), [0, 100, 100]) == 1.5
    assert latency.histogram_quantile(0.99, (1.0, 2.0), [0, 0, 100]) == 2.0


def test_trail_of_an_id_is_a_part_of_the_suspects() -> None:
    for who, name in trails.IDS.items():
        mine = [line for line in trails.STORY if line.request == who]
        assert set(mine) <= set(trails.suspects(who))
        assert all(json.loads(trails.written(line, ids=True))["request_id"] == name for line in mine)
        assert all("request_id" not in json.loads(trails.written(line, ids=False)) for line in mine)
    assert [line.at for line in trails.STORY] == sorted(line.at for line in trails.STORY)


# Section 7


@given(
    st.integers(1, 20),
    st.integers(2, 40),
    st.floats(0, 80),
    st.floats(0.1, 1),
    st.integers(1, 10),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_breaker_sends_one_probe_at_a_time(  # noqa: PLR0917 - one argument a slider
    threshold: int, cooldown: float, outage: float, failing: float, timeout: float, gap: float
) -> None:
    breaker = resilience.Breaker(threshold, cooldown)
    calls = resilience.through_outage(breaker, gap=gap, outage=outage, failing=failing, timeout=timeout)
    probes = [call for call in calls if call.probe]
    assert all(first.done <= then.at + 1e-9 for first, then in pairwise(probes))
    spans = [(at, state, until) for (at, state), (until, _) in pairwise([*breaker.states, (math.inf, "")])]
    for at, state, until in spans:
        sent = [call for call in calls if at < call.at < until and call.end != "spared"]
        assert state == "closed" or not sent
        assert state != "open" or until - at >= cooldown - 1e-6
    assert all(a[1] != b[1] for a, b in pairwise(spans))


def test_breaker_opens_after_failures_in_a_row_only() -> None:
    breaker = resilience.Breaker(3, 10)
    for ok in (False, False, True, False, False):
        breaker.record(1, ok=ok, sent=0)
    assert breaker.opened is None
    breaker.record(2, ok=False, sent=0)
    assert not breaker.allow(11.9)
    assert breaker.allow(12)
    assert not breaker.allow(12.1)
    breaker.record(13, ok=True, sent=12)
    assert breaker.allow(13)


@given(st.integers(1, 4), st.integers(1, 5), st.floats(0, 1))
def test_retries_multiply(layers: int, attempts: int, failing: float) -> None:
    assert 1 <= resilience.load(layers, attempts, failing) <= attempts**layers + 1e-9
    assert math.isclose(resilience.load(layers, attempts, 1.0), attempts**layers)
    assert resilience.load(layers, attempts, failing, 0.1) <= 1.1


# Section 8


@given(st.integers(1, 15), st.integers(2, 30), st.integers(0, 10), st.integers(1, 6))
@settings(deadline=None)
def test_drain_loses_nothing_when_it_is_long_enough(answer: int, grace: int, delay: int, probe: int) -> None:
    _, served = deploys.rolled(deploys.Plan(answer, grace, delay, probe, hears=True))
    ends = {s.end for s in served}
    if delay >= probe:
        assert "refused" not in ends or grace < delay
    if delay >= probe and grace >= delay + answer:
        assert ends == {"ok"}
    assert all(s.done - s.at <= answer + 1e-9 for s in served)


def test_deploy_without_signal_or_delay_hurts() -> None:
    assert "cut" in {s.end for s in deploys.rolled(deploys.Plan(5, 10, 0, 3, hears=False))[1]}
    assert "refused" in {s.end for s in deploys.rolled(deploys.Plan(5, 10, 0, 3, hears=True))[1]}


def test_layers_built_again() -> None:
    assert "3 of 4 layers are built again: 62 s" in pictures.image_layers().words()
    runs = {
        (o, c): deploys.rebuilt(deploys.dockerfile(o, 60), c)
        for o in ("naive", "ordered", "stages")
        for c in ("nothing", "code", "requirements", "base")
    }
    assert not any(runs["naive", "nothing"])
    assert runs["naive", "code"] == [False, True, True, True]
    assert runs["ordered", "code"] == [False, False, False, False, True]
    assert runs["stages", "requirements"] == [False, True, True, False, True, True]
    assert all(all(runs[o, "base"]) for o in ("naive", "ordered", "stages"))


# Section 9


@pytest.mark.parametrize(("servers", "load"), [(1, 0.5), (1, 0.8), (3, 0.7), (8, 0.85)])
def test_waiting_formula_agrees_with_the_simulation(servers: int, load: float) -> None:
    runs = [queueing.visits(servers, 1.0, load, 60_000, seed)[5_000:] for seed in range(4)]
    waits = [v.begin - v.at for seen in runs for v in seen]
    assert sum(waits) / len(waits) == pytest.approx(queueing.mean_wait(servers, 1.0, load), rel=0.06)
    tail = queueing.wait_quantile(servers, 1.0, load, 0.95)
    assert sum(wait > tail for wait in waits) / len(waits) == pytest.approx(0.05, abs=0.01)


@given(st.integers(1, 32), st.floats(0.05, 0.98))
def test_erlang_c_is_a_chance_that_grows_with_load(servers: int, load: float) -> None:
    chance = queueing.erlang_c(servers, servers * load)
    assert 0 <= chance <= load + 1e-9
    assert queueing.erlang_c(servers, servers * (load + 0.01)) >= chance
    assert math.isclose(queueing.mean_wait(1, 2.0, load), 2.0 * load / (1 - load))


def test_littles_law_holds_in_the_run() -> None:
    scene = pictures.littles_law(rate=5, stay=2).view["scene"]
    inside = sum(scene["left"]) - sum(scene["came"])
    assert scene["inside"] == pytest.approx(inside / scene["end"])
    assert scene["law"] == 10


@given(st.floats(0.3, 0.95), st.integers(0, 30), st.integers(1, 8), st.integers(8, 16), st.booleans())
@settings(max_examples=25, deadline=None)
def test_autoscaler_keeps_its_bounds_and_lateness_costs(
    target: float, delay: int, low: int, high: int, spike: bool
) -> None:
    loads = [capacity.demand(minute, spike=spike) for minute in range(capacity.DAY_MIN)]
    prompt, late = (capacity.fleet(capacity.Scaler(target, d, low, high), loads) for d in (0, delay))
    assert set(late) <= set(range(low, high + 1))
    assert all(
        size >= capacity.Scaler(target, 0, low, high).wanted(load) for size, load in zip(prompt, loads, strict=True)
    )
    assert capacity.dropped(loads, prompt) <= capacity.dropped(loads, late) + 1e-6


def test_pools_of_the_module_do_not_fit() -> None:
    assert capacity.connections(3, 4, 20, 40) == 720
    assert "623 will be refused" in pictures.pool_arithmetic().words()
    assert "It fits" in pictures.pool_arithmetic(size=5, overflow=3).words()


# Section 10


@given(
    st.sampled_from([0.99, 0.995, 0.999, 0.9995]),
    st.sampled_from([0.05, 0.1, 0.2, 0.5, 1.0]),
    st.sampled_from(sorted(incidents.ALERTS)),
)
@settings(max_examples=30, deadline=None)
def test_alert_fires_when_the_formula_says(slo: float, share: float, name: str) -> None:
    alert = incidents.ALERTS[name]
    _, paged, _ = incidents.course_of(slo, share, alert, 30)
    due = max(
        w * (alert.rate * (1 - slo) - incidents.BACKGROUND) / (share - incidents.BACKGROUND)
        for w in (alert.long, alert.short)
    )
    expected = incidents.START + math.ceil(due - 1e-6)
    if share < alert.rate * (1 - slo) or expected > incidents.SHOWN:
        assert paged is None
    else:
        assert paged == expected


def test_budget_of_three_nines_is_43_minutes() -> None:
    assert incidents.budget_left([1.0] * 43, 0.999)[-1] > 0 > incidents.budget_left([1.0] * 44, 0.999)[-1]


def test_ladder_counts_the_modules_requirements() -> None:
    assert (len(overview.MUST), len(overview.SHOULD)) == (7, 5)
    assert "0 of 7" in pictures.ladder().words()
    assert "7 of 7" in pictures.ladder(done=10).words()


# Quiz and progress


def test_quiz_reaches_the_kernel_and_keeps_its_answer_until_then() -> None:
    heard: list[int] = []
    quiz = Quiz("How many?", ["5", "10"], answer=1, because="At the edge.", on_answer=lambda q: heard.append(q.chosen))
    assert quiz.right is None
    assert "edge" not in json.dumps(quiz.get_state(["question", "choices", "verdict", "chosen"]))
    quiz.set_state({"chosen": 0})  # what the front end sends
    assert quiz.verdict["state"] == "wrong"
    assert quiz.choose(1) == "Right. At the edge."
    assert quiz.tries == heard == [0, 1]
    assert not quiz.right
    quiz.set_state({"chosen": 99})
    assert quiz.chosen == -1


def test_prediction_is_settled_by_the_run() -> None:
    quiz = Quiz("Which is faster?", ["sync", "await"], because=["It blocks.", "It waits aside."])
    assert quiz.choose(0).startswith("Noted: sync")
    assert quiz.settle(1) == "Not quite. It blocks."
    assert not quiz.right
    assert Quiz("?", ["a", "b"]).settle(1) == "It was: b."


def test_quiz_refuses_nonsense() -> None:
    with pytest.raises(ValueError, match="choices"):
        Quiz("?", ["only one"], answer=0)
    with pytest.raises(ValueError, match="because"):
        Quiz("?", ["a", "b"], answer=0, because=["one"])
    with pytest.raises(IndexError):
        Quiz("?", ["a", "b"], answer=0).choose(2)


def test_progress_is_redrawn() -> None:
    row = {"number": 1, "title": "Architecture", "points": 3, "max_points": 10}
    progress = pictures.Progress([row])
    assert progress.words() == "Your progress: 3 of 10 points. Next: lab 1, Architecture."
    progress.update([row | {"points": 10}])
    assert progress.words() == "Your progress: 10 of 10 points. Every check passes."


# All of them


@pytest.mark.parametrize("name", NAMES)
def test_picture_speaks_without_a_front_end(name: str) -> None:
    figure = getattr(pictures, name)()
    text = figure._repr_mimebundle_()
    data = text[0] if isinstance(text, tuple) else text
    assert data["text/plain"] == repr(figure) == figure.words() == getattr(pictures, name)().words()
    assert "**" not in figure.words()
    assert 60 < len(figure.words()) < 600
    json.dumps(figure.get_state(), allow_nan=False)
    table = figure.view["table"]
    assert table["rows"]
    assert all(len(row) == len(table["columns"]) for row in table["rows"])


@pytest.mark.parametrize("name", NAMES)
def test_picture_follows_every_control(name: str) -> None:
    figure = getattr(pictures, name)()
    for control in figure._parts:
        if isinstance(control, controls.Slider):
            extremes: list[Any] = [control.low, control.high]
        elif isinstance(control, controls.Choice):
            extremes = list(dict(control.options))
        else:
            extremes = (
                [True, False] if isinstance(control, controls.Switch) else [list(getattr(control, "allowed", ()))]
            )
        for value in extremes:
            figure.set_state({"params": {**figure.start, control.name: value}})
            assert json.dumps(figure.view, allow_nan=False)
    figure.params = {}
    assert figure.params == figure.start


junk = st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.lists(st.floats(), max_size=5)
known = st.sampled_from(["limit", "window", "clicks", "down", "p", "servers", "load", "claims", "slo"])


@given(st.sampled_from(NAMES), st.dictionaries(known, junk))
@settings(max_examples=60, deadline=None)
def test_nonsense_from_the_front_end_changes_nothing(name: str, params: dict[str, Any]) -> None:
    figure = getattr(pictures, name)()
    figure.set_state({"params": params})
    assert set(figure.params) == set(figure.start)
    assert json.dumps(figure.view, allow_nan=False)


@pytest.mark.parametrize("name", NAMES)
def test_page_without_kernel_carries_every_alternative(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = getattr(pictures, name)()
    for control, values in figure.alternatives().items():
        assert values
        for value, view in values[:3]:
            figure.params = {**figure.start, control: value}
            assert figure.params[control] == value
            assert name == "jwt_parts" or figure.view == view
    monkeypatch.setenv("COURSE_BOOK", "1")
    bundle = figure._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert set(data) == {"text/plain", "text/html"}
    assert len(data["text/html"]) < 1_000_000
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", data["text/html"])
    assert data["text/html"].count("</script>") == 1


def test_quiz_page_says_something_to_each_choice() -> None:
    quiz = Quiz("?", ["</script>", "b"], answer=1, because="So.")
    assert [said["state"] for _, said in quiz.alternatives()["chosen"]] == ["wrong", "right"]
    assert page.page(quiz).count("</script>") == 1


def test_unknown_setting_is_refused_with_the_known_ones() -> None:
    with pytest.raises(TypeError, match="limiters has no speed; it has limit, window, pattern, clicks"):
        pictures.limiters(speed=3)


def test_import_loads_no_widget_and_no_gevent() -> None:
    heavy = "anywidget", "ipywidgets", "gevent", "numpy"
    code = f"import sys, grader.figures as f; dir(f); print(any(m in sys.modules for m in {heavy}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "False"
    with pytest.raises(AttributeError):
        pictures.nothing  # noqa: B018


def test_every_script_is_used_and_short() -> None:
    used = {
        "frame",
        "page",
        "quiz",
        *re.findall(r'(?:Figure|__init__)\(\s*"(\w+)"', "".join(p.read_text() for p in FOLDER.glob("*.py"))),
    }
    assert used == {path.stem for path in SCRIPTS}
    assert all(len(path.read_text().splitlines()) <= 300 for path in SCRIPTS)


@pytest.mark.parametrize("path", [*SCRIPTS, FOLDER / "theme.css"], ids=lambda path: path.name)
def test_nothing_is_loaded_from_elsewhere(path: Path) -> None:
    text = path.read_text().replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert not re.search(r"https?:|//cdn|@import|\bimport\b|\beval\b|innerHTML \+=", text)


@pytest.mark.skipif(not shutil.which("node"), reason="node checks the syntax of the scripts")
def test_scripts_are_modules_that_draw(tmp_path: Path) -> None:
    for path in SCRIPTS:
        parts = ["frame"] if path.stem == "frame" else ["frame", path.stem]
        (tmp_path / f"{path.stem}.mjs").write_text(theme.script(*parts), encoding="utf-8")
    code = """
        import { readdirSync } from 'node:fs';
        for (const file of readdirSync('.')) {
          const { default: shown } = await import(`${process.cwd()}/${file}`);
          if (!['frame.mjs', 'page.mjs'].includes(file) && typeof shown.render !== 'function') throw Error(file);
        }"""
    node = ["node", "--input-type=module", "-e", code]
    done = subprocess.run(node, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_data_colours_are_readable_in_both_themes() -> None:
    blocks = re.findall(r"\{([^{}]*--ok: #[^{}]*)\}", theme.style())
    light, dark, media = (dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in blocks)
    assert {k: media[k] for k in dark} == dark
    assert set(light) == set(dark) >= {"ok", "bad", "main", "warn", "alt", "sky", "wait"}
    for colours, paper in ((light, "#ffffff"), (dark, "#212121"), (dark, "#111111")):
        for name, colour in colours.items():
            a, b = sorted([luminance(colour), luminance(paper)])
            assert (b + 0.05) / (a + 0.05) >= 3, (name, colour)


def test_views_are_plain_data() -> None:
    view = theme.View({"a": 1}, "One **two**.", theme.Table("c", ["x"], [[1]]))
    assert asdict(view)["table"] == {"caption": "c", "columns": ["x"], "rows": [[1]]}
    assert theme.plain(view.sentence) == "One two."
