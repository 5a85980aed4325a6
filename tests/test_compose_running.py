"""The Compose stack, built and run by a real engine: `make test-compose`.

Without an engine these are skipped, unless COMPOSE_REQUIRED is set. COMPOSE_EXTRA names a Compose file to add, which an
engine without a registry needs (`tests/compose/engine.yaml`). The tests build on one another, in this order.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from grader.course import ROOT
from grader.deployment.engine import find_engine
from grader.messages import new_message
from tests.compose.project import Project, copy_course, fetch, until

LIGHT = ("redis", "postgres", "provider", "api", "lb", "jupyter")
MORE = ("worker", "prometheus", "locust", "locust-worker")
GRAFANA = str(yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["grafana"]["image"])
USERS = 12
"""Locust's visitors: a load that two cores bear beside everything else."""

pytestmark = [
    pytest.mark.skipif("COMPOSE_TESTS" not in os.environ, reason="`make test-compose` runs these"),
    pytest.mark.skipif(
        "COMPOSE_TESTS" in os.environ and "COMPOSE_REQUIRED" not in os.environ and find_engine(("docker",)) is None,
        reason="no Docker engine answers",
    ),
]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """Build the finished service and the course, and start what starts by default."""
    folder = tmp_path_factory.mktemp("course")
    for above in (folder, *folder.parents[:2]):  # pytest's folders are closed to the user of the containers
        above.chmod(0o755)
    copy_course(folder)
    changes = {
        "COURSE_SERVICE": "./solutions/service",
        "READY_PATH": "/readyz",
        "RATE_LIMIT_REQUESTS": "1000000",
        "LLM_TIMEOUT_S": "10",
        "LOCUST_WORKERS": "1",
    }
    project = Project(folder, f"workbook-{secrets.token_hex(3)}", changes)
    about = (f"label=com.docker.compose.project={project.name}", "type=container", "event=start", "event=health_status")
    filters = [word for each in about for word in ("--filter", each)]
    with (folder / "events").open("w") as events:
        watch = subprocess.Popen(["docker", "events", *filters, "--format", "{{json .}}"], stdout=events)
    try:
        with project.timed("build"):
            project.compose("build", "--quiet", "provider", "api")
        with project.timed("up"):
            project.compose("up", "--detach", "--wait", "--wait-timeout", "240", *LIGHT)
        yield project
    finally:
        project.end()
        watch.terminate()
        watch.wait(10)
        print("\nCompose stack: " + ", ".join(project.timings))


@pytest.fixture(scope="module")
def key(stack: Project) -> dict[str, str]:
    """Return the header of a caller."""
    found = next(each for each in stack.env["GRADE_API_KEYS"].split(",") if each.startswith("user:"))
    return {"X-API-Key": found.partition(":")[2]}


def prometheus(stack: Project, query: str) -> list[dict[str, Any]]:
    asked = stack.url("PROMETHEUS_PORT", f"/api/v1/query?{urllib.parse.urlencode({'query': query})}")
    status, _, body = fetch(asked)
    assert status == 200, body
    return list(json.loads(body)["data"]["result"])


def number(stack: Project, query: str) -> float:
    """Return the one value of a query; 0 when there is none yet."""
    return sum(float(each["value"][1]) for each in prometheus(stack, query))


def served_by(stack: Project, count: int) -> set[str]:
    return {fetch(stack.url("LB_PORT", "/livez"))[1].get("x-served-by", "") for _ in range(count)}


def load(stack: Project, users: int) -> None:
    form = urllib.parse.urlencode({"user_count": users, "spawn_rate": users})
    words = [
        "python",
        "-c",
        "import sys, urllib.request as r; r.urlopen('http://127.0.0.1:8089/swarm', sys.argv[1].encode())",
    ]
    stack.docker("exec", stack.container("locust"), *words, form)


def stop_load(stack: Project) -> None:
    fetch(stack.url("LOCUST_PORT", "/stop"))


def counted(stack: Project, name: str) -> tuple[int, int]:
    """Return how many requests Locust has sent under a name, and how many failed."""
    stats = json.loads(fetch(stack.url("LOCUST_PORT", "/stats/requests"))[2])["stats"]
    rows = [row for row in stats if row["name"] == name]
    return sum(row["num_requests"] for row in rows), sum(row["num_failures"] for row in rows)


def test_all_are_healthy_and_nothing_started_before_its_gate(stack: Project) -> None:
    assert set(stack.health().values()) == {"healthy"}
    events = [json.loads(line) for line in (stack.folder / "events").read_text().splitlines()]

    def first(service: str, wanted: str) -> int:
        about = [e for e in events if e["Actor"]["Attributes"]["com.docker.compose.service"] == service]
        return min(int(e["timeNano"]) for e in about if str(e["Action"]).replace(" ", "") == wanted)

    for service, gates in {"api": ("redis", "postgres", "provider"), "lb": ("api",)}.items():
        for gate in gates:
            assert first(service, "start") > first(gate, "health_status:healthy"), f"{service} did not wait for {gate}"


def test_processes_are_nobody_special(stack: Project) -> None:
    for service in ("api", "lb", "provider", "jupyter"):
        users = {
            line.split()[0] for line in stack.docker("top", stack.container(service), "-eo", "uid,pid").splitlines()[1:]
        }
        assert "0" not in users, service


def test_service_answers_through_the_balancer(stack: Project, key: dict[str, str]) -> None:
    body = {"message": new_message()}
    status, headers, answer = fetch(stack.url("LB_PORT", "/chat"), body, headers=key)
    assert status == 200, answer
    assert headers["x-cache"] == "MISS"
    assert fetch(stack.url("LB_PORT", "/chat"), body, headers=key)[1]["x-cache"] == "HIT"
    assert fetch(stack.url("LB_PORT", "/chat"), body)[0] == 401


def test_lab_opens_with_its_token_alone(stack: Project) -> None:
    assert fetch(stack.url("JUPYTER_PORT", "/api/status"))[0] == 403
    token = {"Authorization": f"token {stack.env['JUPYTER_TOKEN']}"}
    assert fetch(stack.url("JUPYTER_PORT", "/api/status"), headers=token)[0] == 200
    assert b"04_rate_limiting" in fetch(stack.url("JUPYTER_PORT", "/api/contents/notebooks"), headers=token)[2]


def test_edit_is_built_and_started_anew(stack: Project) -> None:
    main = stack.folder / "solutions" / "service" / "app" / "main.py"
    text = main.read_text()
    assert "Ask me something" in text
    with stack.timed("edit to answer"), stack.watching("api"):
        main.write_text(text.replace("Ask me something", "Ask me anything"))
        until(lambda: b"Ask me anything" in fetch(stack.url("LB_PORT", "/"))[2])


def has_grafana(stack: Project) -> bool:
    """Tell whether there is an image of Grafana, or one can be pulled."""
    if "COMPOSE_EXTRA" not in os.environ:
        stack.docker("pull", "--quiet", GRAFANA, check=False)
    return stack.docker("image", "inspect", GRAFANA, check=False).strip() not in {"", "[]"}


def test_profiles_become_healthy(stack: Project) -> None:
    more = [*MORE, *["grafana"] * has_grafana(stack)]
    if "grafana" not in more:
        print("Grafana is left out: this engine has no image of it; its dashboard's queries are asked of Prometheus.")
    with stack.timed("profiles up"):
        for service in more:  # one after the other: two cores start no six interpreters at once
            stack.compose("--profile", "*", "up", "--detach", "--wait", "--wait-timeout", "240", service)
    states = stack.health()
    assert {name for name, state in states.items() if state != "healthy"} == set()
    assert len(states) == len(LIGHT) + len(more)
    if "grafana" in more:
        dashboard = stack.url("GRAFANA_PORT", "/api/dashboards/uid/service")
        assert httpx.get(dashboard, auth=("admin", stack.env["GRAFANA_PASSWORD"])).status_code == 200


def test_worker_does_tasks(stack: Project, key: dict[str, str]) -> None:
    status, headers, _ = fetch(stack.url("LB_PORT", "/chat-async"), {"message": new_message()}, headers=key)
    assert status == 202
    place = stack.url("LB_PORT", urllib.parse.urlsplit(headers["location"]).path)
    until(lambda: json.loads(fetch(place, headers=key)[2])["status"] == "complete")


def test_three_replicas_act_as_one(stack: Project, key: dict[str, str]) -> None:
    with stack.timed("scale to 3"):
        stack.compose("up", "--detach", "--wait", "--no-recreate", "--scale", "api=3", "api")
        until(lambda: len(served_by(stack, 12)) == 3)
    body = {"message": new_message()}
    said = [fetch(stack.url("LB_PORT", "/chat"), body, headers=key)[1] for _ in range(6)]
    assert [headers["x-cache"] for headers in said] == ["MISS"] + ["HIT"] * 5
    assert len({headers["x-served-by"] for headers in said}) == 3


def test_prometheus_counts_what_the_provider_bills(stack: Project) -> None:
    until(lambda: number(stack, 'sum(up{job="api"})') == 3 and number(stack, 'sum(up{job="lb"})') == 1)
    load(stack, USERS)
    until(lambda: counted(stack, "/chat")[0] > 60 and counted(stack, "/chat-status/{id}")[0] > 0)
    stop_load(stack)
    asked = counted(stack, "/chat")[0]
    chats = 'sum(http_requests_total{job="api", handler="/chat", status="200"})'
    until(lambda: number(stack, chats) >= asked)
    billed = provider_tokens(stack)
    # A worker is another process: what it asked the model stands in its own metrics, which nobody scrapes.
    until(lambda: 0 < number(stack, "sum(llm_tokens_total)") <= billed)
    assert number(stack, "sum(llm_tokens_total)") > 0.5 * billed
    assert number(stack, "sum(cache_requests_total)") == number(stack, chats)


def provider_tokens(stack: Project) -> int:
    request = stack.url("PROVIDER_PAGE_PORT", "/bill")
    token = {"Authorization": f"Bearer {stack.env['PROVIDER_TOKEN']}"}
    bill = json.loads(fetch(request, {"namespace": "sk-lab-learner"}, headers=token)[2])
    return int(bill["prompt_tokens"] + bill["completion_tokens"])


def test_dashboard_shows_what_prometheus_has(stack: Project) -> None:
    load(stack, USERS)
    dashboard = json.loads((ROOT / "stack" / "grafana" / "dashboards" / "service.json").read_text())
    queries = {panel["title"]: [each["expr"] for each in panel["targets"]] for panel in dashboard["panels"]}
    for title, asked in queries.items():
        if "nothing to answer" in title:  # no 503 has been given
            assert sum(number(stack, query) for query in asked) == 0
        else:
            until(lambda query=asked[0]: prometheus(stack, query))  # type: ignore[misc]
    assert number(stack, queries["Replicas that answer"][0]) == 3
    assert number(stack, queries["Ready for the load balancer"][0]) == 3
    until(lambda: 0 < number(stack, queries["Cache hit rate"][0]) < 1)
    rules = json.loads(fetch(stack.url("PROMETHEUS_PORT", "/api/v1/rules"))[2])["data"]["groups"]
    assert {rule["health"] for group in rules for rule in group["rules"]} == {"ok"}
    stack.docker("exec", stack.container("prometheus"), "promtool", "test", "rules", "/etc/prometheus/rules_test.yml")


def test_killed_replica_is_left_out_and_comes_back(stack: Project) -> None:
    """A crash, not `docker kill`, which counts as a wish: the server's process is killed inside its container."""
    failed = counted(stack, "/chat")[1]
    victim = stack.container("api", 2)
    with stack.timed("replica back"):
        stack.docker("exec", victim, "python", "-c", KILL)
        until(lambda: stack.inspect(victim)["RestartCount"] == 1)
        sent = counted(stack, "/chat")[0]
        until(lambda: counted(stack, "/chat")[0] > sent + 40)
        until(lambda: stack.health()[victim] == "healthy" and len(served_by(stack, 12)) == 3)
    assert counted(stack, "/chat")[1] - failed <= USERS, "more requests failed than were under way"


KILL = """
import os, pathlib, signal
for entry in pathlib.Path("/proc").iterdir():
    if entry.name.isdigit() and int(entry.name) != os.getpid() and b"app.main" in (entry / "cmdline").read_bytes():
        if int(entry.name) != 1:
            os.kill(int(entry.name), signal.SIGKILL)
"""


def test_lost_redis_is_borne(stack: Project) -> None:
    with stack.timed("Redis away and back"):
        stack.compose("stop", "redis")
        until(lambda: health_of(stack) == ("degraded", "unhealthy"))
        sent, failed = counted(stack, "/chat")
        until(lambda: counted(stack, "/chat")[0] > sent + 4 * USERS)
        assert counted(stack, "/chat")[1] - failed <= USERS, "chats failed because Redis was away"
        stack.compose("start", "redis")
        until(lambda: health_of(stack) == ("healthy", "healthy"))
    stop_load(stack)


def health_of(stack: Project) -> tuple[str, str]:
    """Return what a replica says of itself and of Redis; nothing while the balancer has none to ask."""
    status, _, body = fetch(stack.url("LB_PORT", "/health"))
    if status != 200:
        return "", ""
    told = json.loads(body)
    redis = told["checks"]["redis"]
    return told["status"], redis["status"] if isinstance(redis, dict) else redis


def test_replicas_without_a_database_get_nothing(stack: Project, key: dict[str, str]) -> None:
    with stack.timed("PostgreSQL away and back"):
        stack.compose("stop", "postgres")
        until(lambda: "x-served-by" not in fetch(stack.url("LB_PORT", "/livez"))[1])
        assert fetch(stack.url("LB_PORT", "/livez"))[0] == 503
        stack.compose("start", "postgres")
        until(lambda: len(served_by(stack, 12)) == 3)
    assert fetch(stack.url("LB_PORT", "/chat"), {"message": new_message()}, headers=key)[0] == 200


def test_grader_grades_inside(stack: Project) -> None:
    stack.compose("stop", "api", "worker", "locust", "locust-worker", "prometheus", "jupyter")  # the cores are few
    with stack.timed("grade 4 inside"):
        told = stack.compose(
            "--profile", "grade", "run", "--rm", "--no-TTY", "grader", "grade", "4", "--service", "solutions/service"
        )
    assert "38 of 38 points" in told


def test_folder_of_the_test_is_a_copy(stack: Project) -> None:
    assert ROOT not in (stack.folder, *stack.folder.parents)
    assert Path(stack.folder, ".env").exists()
