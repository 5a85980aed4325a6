"""The Compose stack as files: what must hold wherever no engine runs. `make test-compose` runs it for real."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from grader.course import ROOT
from grader.deployment import RULES, Tree
from grader.deployment.context import Ignore
from grader.deployment.rule import judge
from grader.parts import find_caddy
from grader.provider.ledger import PRICES
from tests.compose.project import NAME, new_env, values_of

FILE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / ".env.example"
CONTRACT = (ROOT / "labs" / "CONTRACT.md").read_text()
MONITORING = ROOT / "stack" / "prometheus"
DASHBOARD = json.loads((ROOT / "stack" / "grafana" / "dashboards" / "service.json").read_text())

SERVICES: dict[str, Any] = yaml.safe_load(FILE.read_text())["services"]
ALWAYS = {"jupyter", "api", "lb", "redis", "postgres", "provider"}
PROFILES = {
    "worker": {"worker"},
    "monitoring": {"prometheus", "grafana"},
    "load": {"locust", "locust-worker"},
    "grade": {"grader"},
}
PUBLISHED = {"jupyter", "lb", "provider", "prometheus", "grafana", "locust"}
JOBS = {"grader"}
"""What runs once, and has no health to ask for."""

OTHERS_METRICS = {"up", "caddy_reverse_proxy_upstreams_healthy"}
"""What Prometheus and Caddy say of themselves."""

CONTRACT_METRICS = {
    "http_requests_total",
    "http_request_duration_seconds_bucket",
    "llm_tokens_total",
    "cache_requests_total",
    "rate_limited_total",
}

every_service = pytest.mark.parametrize("name", sorted(SERVICES))


def tool(name: str) -> str:
    """Find a program, or skip the test."""
    found = shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not on the PATH")
    return found


def test_rules_for_learners_hold_for_the_course() -> None:
    tree = Tree(ROOT)
    assert tree.compose_file == "docker-compose.yml"
    found = [each for rule in RULES.values() if rule.kind == "compose" for each in judge(rule, tree)]
    assert [finding.sentence for finding in found] == []


def test_rules_for_learners_hold_for_the_image(tmp_path: Path) -> None:
    shutil.copy(ROOT / "stack" / "Dockerfile", tmp_path)
    rules = [rule for rule in RULES.values() if rule.kind == "Dockerfile" and "start" not in rule.name]
    found = {each.rule for rule in rules for each in judge(rule, Tree(tmp_path)) if not each.advice}
    assert found == {"no-healthcheck"}, (
        "what is asked differs from service to service, and stands in docker-compose.yml"
    )


def test_services_and_profiles() -> None:
    assert "version" not in yaml.safe_load(FILE.read_text())
    by_profile: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for profile in service.get("profiles", [""]):
            by_profile.setdefault(profile, set()).add(name)
    assert by_profile == PROFILES | {"": ALWAYS}


@every_service
def test_service_is_limited_watched_and_pinned(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory"}
    assert float(limits["cpus"]) <= 2, "an engine refuses to promise more processors than the machine has"
    assert service["restart"] == ("no" if name in JOBS else "unless-stopped")
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert "no-new-privileges:true" in service["security_opt"]
    assert "build" in service or re.search(r":v?\d+\.\d+", service["image"]), f"{name} is not pinned"
    assert (service["healthcheck"] == {"disable": True}) is (name in JOBS)


@every_service
def test_service_publishes_on_this_machine_only_and_waits_for_health(name: str) -> None:
    service = SERVICES[name]
    assert all(port.startswith("127.0.0.1:${") for port in service.get("ports", ()))
    assert bool(service.get("ports")) is (name in PUBLISHED)
    assert {each["condition"] for each in service.get("depends_on", {}).values()} <= {"service_healthy"}


def test_stores_are_reached_by_the_service_alone() -> None:
    assert yaml.safe_load(FILE.read_text())["networks"]["stores"] == {"internal": True}
    assert {name for name in SERVICES if "stores" in SERVICES[name]["networks"]} == {
        "api",
        "worker",
        "redis",
        "postgres",
    }


def test_every_variable_of_the_contract_reaches_api_and_worker() -> None:
    table = CONTRACT.split("## Configuration")[1].split("\n## ")[0]
    names = {
        name
        for row in re.findall(r"^\| (`[A-Z].*?) \|", table, re.MULTILINE)
        for name in re.findall(r"[A-Z_]{5,}", row)
    }
    assert len(names) > 25
    for service in ("api", "worker"):
        assert set(SERVICES[service]["environment"]) == names


@pytest.fixture(params=["example", "generated"])
def settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the example's values, and those of a fresh .env."""
    if request.param == "example":
        return values_of(EXAMPLE.read_text())
    return values_of(new_env())


def test_env_file_has_all_that_is_required_and_callers_fit_together(settings: dict[str, str]) -> None:
    required = set(re.findall(r"\$\{(\w+):\?copy", FILE.read_text()))
    assert {name for name in required if not settings.get(name)} == set()
    clients = json.loads(settings["API_KEYS"])
    keys = [each.split(":", 1) for each in settings["GRADE_API_KEYS"].split(",")]
    for role, key in keys:
        assert clients[hashlib.sha256(key.encode()).hexdigest()]["role"] == role
    assert len(clients) == len(keys)
    assert set(json.loads(settings["LOAD_KEYS"])) <= {key for _, key in keys}
    users = json.loads(settings["SEED_USERS"])
    assert len(users) <= 10
    assert all(re.fullmatch(r"[a-z0-9_-]{1,32}", user["username"]) for user in users)
    assert len(settings["JWT_SECRET"]) >= 32
    assert re.fullmatch(r"\w+", settings["POSTGRES_PASSWORD"])


def test_generated_secrets_are_fresh() -> None:
    made = [values_of(new_env()) for _ in range(2)]
    known = values_of(EXAMPLE.read_text())
    for name in ("JWT_SECRET", "POSTGRES_PASSWORD", "PROVIDER_TOKEN", "JUPYTER_TOKEN", "GRAFANA_PASSWORD", "API_KEYS"):
        assert len({made[0][name], made[1][name], known[name]}) == 3, name


def test_nothing_secret_gets_into_the_image_of_the_course() -> None:
    ignore = Ignore((ROOT / ".dockerignore").read_text())
    out = (
        ".env",
        "labs/service/.env",
        ".git/config",
        ".venv/bin/python",
        ".course/history.json",
        "labs/service/service.db",
    )
    assert [path for path in out if not ignore.excludes(path)] == []
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    needed = [path for path in tracked if path.split("/")[0] in {"grader", "labs", "notebooks", "solutions", "stack"}]
    assert [path for path in needed if ignore.excludes(path)] == []


def test_balancer_takes_its_configuration() -> None:
    env = {**os.environ, "UPSTREAMS": "one:8000 two:8000", "READY_PATH": "/readyz"}
    command = [str(find_caddy().path), "adapt", "--config", "stack/Caddyfile", "--adapter", "caddyfile"]
    adapted = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert adapted.returncode == 0, adapted.stderr
    (site,) = [
        each for each in json.loads(adapted.stdout)["apps"]["http"]["servers"].values() if "8080" in str(each["listen"])
    ]
    (proxy,) = [
        handler for route in site["routes"] for handler in route["handle"] if handler["handler"] == "reverse_proxy"
    ]
    assert [each["dial"] for each in proxy["upstreams"]] == ["one:8000", "two:8000"]
    assert proxy["health_checks"]["active"]["uri"] == "/readyz"


def test_compose_resolves_the_file() -> None:
    docker = tool("docker")
    if subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker has no compose plugin")

    def resolve(env_file: str) -> subprocess.CompletedProcess[str]:
        options = ["--file", str(FILE), "--env-file", env_file, "--profile", "*"]
        command = [docker, "compose", *options, "config", "--format", "json"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    resolved = resolve(str(EXAMPLE))
    assert resolved.returncode == 0, resolved.stderr
    whole = json.loads(resolved.stdout)
    assert set(whole["services"]) == set(SERVICES)
    assert whole["services"]["lb"]["environment"]["UPSTREAMS"].split()[0] == f"{NAME}-api-1:8000"
    assert "copy .env.example to .env" in resolve(os.devnull).stderr


# -- Monitoring -----------------------------------------------------------------------------------------------------


def expressions() -> Iterator[tuple[str, str]]:
    """Give every query of the dashboard and of the rules, with where it stands."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"]
    for group in yaml.safe_load((MONITORING / "rules.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield f"rule {rule.get('record') or rule['alert']}", rule["expr"]


def recorded() -> set[str]:
    groups = yaml.safe_load((MONITORING / "rules.yml").read_text())["groups"]
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


def names_in(query: object) -> set[str]:
    """Collect the metrics that a parsed query names."""
    if isinstance(query, promql_parser.VectorSelector):
        return {str(query.name)}
    parts = [getattr(query, name, None) for name in ("expr", "lhs", "rhs", "args", "vector_selector", "param")]
    flat = [each for part in parts if part is not None for each in (part if isinstance(part, list) else [part])]
    return {name for part in flat for name in names_in(part)}


@pytest.mark.parametrize(("where", "query"), [pytest.param(*each, id=each[0]) for each in expressions()])
def test_query_names_what_the_contract_promises(where: str, query: str) -> None:
    named = names_in(promql_parser.parse(query))
    assert named, f"{where} asks for nothing"
    assert named <= CONTRACT_METRICS | OTHERS_METRICS | recorded(), where


def test_metrics_are_those_of_the_contract() -> None:
    for name in CONTRACT_METRICS:
        assert name.removesuffix("_bucket") in CONTRACT


def test_dashboard_shows_each_topic() -> None:
    titles = " ".join(panel["title"] for panel in DASHBOARD["panels"])
    for topic in (
        "Rate:",
        "Errors:",
        "Duration:",
        "Cache hit rate",
        "Tokens",
        "Bill",
        "Rate limits",
        "Breaker",
        "Queue",
    ):
        assert topic in titles
    source = yaml.safe_load((ROOT / "stack/grafana/provisioning/datasources/prometheus.yml").read_text())
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["datasources"][0]["uid"]}


def test_bill_is_reckoned_with_the_providers_prices() -> None:
    (rule,) = [query for where, query in expressions() if where == "rule service:bill_usd:most"]
    for model, price in re.findall(r'model="([\w-]+)"\} \* ([\d.]+)', rule):
        assert float(price) == PRICES[model].completion
    assert rule.count("model=") == 2


def test_promtool_finds_no_fault() -> None:
    promtool = tool("promtool")
    for words in (["check", "config", "prometheus.yml"], ["test", "rules", "rules_test.yml"]):
        told = subprocess.run([promtool, *words], cwd=MONITORING, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout + told.stderr
