"""Faults in deployment, as they go live."""

from __future__ import annotations

from collections.abc import Callable

from grader.checks import lab_08_deployment as lab
from tests.mutants import Mutant

START = '["sh", "-c", "exec uvicorn app.main:app --host 0.0.0.0 --port ${PORT:-8000} --timeout-graceful-shutdown 8"]'
IMAGE_START: set[Callable[..., None]] = {lab.check_image_start_is_sound, lab.check_image_command_runs}
PROCFILE: set[Callable[..., None]] = {lab.check_procfile_serves, lab.check_procfile_command_runs}
FLOW = ".github/workflows/deploy.yml"
ONLY_MAIN = "    if: github.ref == 'refs/heads/main' && github.event_name == 'push'\n    runs-on"
BACKUPS: set[Callable[..., None]] = {lab.check_backup_brings_sqlite_back, lab.check_backup_brings_postgres_back}

MUTANTS = [
    Mutant(
        "builds on whatever Python is newest",
        "Dockerfile",
        "FROM python:3.13-slim AS build",
        "FROM python:slim AS build",
        {lab.check_image_is_reproducible},
    ),
    Mutant(
        "installs everything again after each edit",
        "Dockerfile",
        "COPY requirements.txt .",
        "COPY . .",
        {lab.check_image_is_reproducible},
    ),
    Mutant("runs as root", "Dockerfile", "USER 10001:10001\n", "", {lab.check_image_gives_up_root}),
    Mutant(
        "bakes a secret into the image",
        "Dockerfile",
        "EXPOSE 8000",
        "ENV JWT_SECRET=0123456789abcdef0123456789abcdef",
        {lab.check_image_keeps_no_secret},
    ),
    Mutant(
        "takes a build argument's key along",
        "Dockerfile",
        "EXPOSE 8000",
        "ARG OPENAI_API_KEY\nENV OPENAI_API_KEY=$OPENAI_API_KEY",
        {lab.check_image_keeps_no_secret},
    ),
    Mutant(
        "restarts the container when the database is away",
        "Dockerfile",
        "+ '/livez'",
        "+ '/readyz'",
        {lab.check_image_tells_its_health},
    ),
    Mutant(
        "starts in shell form",
        "Dockerfile",
        f"CMD {START}",
        "CMD uvicorn app.main:app --host 0.0.0.0 --port ${PORT:-8000}",
        IMAGE_START,
    ),
    Mutant("leaves a shell in front of the server", "Dockerfile", "exec uvicorn", "uvicorn", IMAGE_START),
    Mutant(
        "listens on the loopback interface of the container",
        "Dockerfile",
        "--host 0.0.0.0 --port $",
        "--port $",
        IMAGE_START,
    ),
    Mutant("listens on a port of its own in the container", "Dockerfile", "${PORT:-8000} ", "8000 ", IMAGE_START),
    Mutant("forgets the worker", "compose.yaml", "\n  worker:\n", "\n  tasks:\n", {lab.check_compose_has_all_four}),
    Mutant(
        "starts before PostgreSQL accepts anybody",
        "compose.yaml",
        "    postgres: {condition: service_healthy}",
        "    postgres: {condition: service_started}",
        {lab.check_compose_waits_for_health},
    ),
    Mutant(
        "waits for the health of a Redis that cannot tell",
        "compose.yaml",
        'test: ["CMD", "redis-cli", "ping"]',
        'test: ["NONE"]',
        {lab.check_compose_waits_for_health},
    ),
    Mutant(
        "opens Redis to everybody",
        "compose.yaml",
        'volumes: ["redis:/data"]',
        'volumes: ["redis:/data"]\n    ports: ["6379:6379"]',
        {lab.check_compose_publishes_no_store},
    ),
    Mutant(
        "writes the database's password into the file",
        "compose.yaml",
        "service:${POSTGRES_PASSWORD:?set it in .env}@",
        "service:service@",
        {lab.check_compose_secrets_come_from_outside},
    ),
    Mutant(
        "lets Redis take all memory",
        "compose.yaml",
        'limits: {cpus: "0.5", memory: 256M}',
        "reservations: {memory: 256M}",
        {lab.check_compose_limits_and_restarts},
    ),
    Mutant(
        "stays down after a crash",
        "compose.yaml",
        "restart: unless-stopped\n  stop_grace_period",
        "restart: no\n  stop_grace_period",
        {lab.check_compose_limits_and_restarts},
    ),
    Mutant("ignores the platform's port", "Procfile", "--port $PORT", "--port 8000", PROCFILE),
    Mutant(
        "hides from the platform's router", "Procfile", "--host 0.0.0.0 --port $", "--host 127.0.0.1 --port $", PROCFILE
    ),
    Mutant(
        "takes IPv6 connections only",
        "Procfile",
        "--host 0.0.0.0 --port $",
        "--host :: --port $",
        {lab.check_procfile_command_runs},
    ),
    Mutant(
        "starts an application that is not there",
        "Procfile",
        "exec uvicorn app.main:app",
        "exec uvicorn application:app",
        PROCFILE,
    ),
    Mutant(
        "tells Railway a policy that it does not know",
        "railway.toml",
        '"ON_FAILURE"',
        '"sometimes"',
        {lab.check_railway_is_configured},
    ),
    Mutant(
        "never lints",
        FLOW,
        "ruff check --select F,B,ASYNC .",
        "ruff --version",
        {lab.check_pipeline_lints_tests_builds},
    ),
    Mutant(
        "is green whatever the tests say",
        FLOW,
        "python -m pytest",
        "python -m pytest || true",
        {lab.check_pipeline_lints_tests_builds},
    ),
    Mutant("deploys every branch", FLOW, ONLY_MAIN, "    runs-on", {lab.check_pipeline_deploys_only_tested_main}),
    Mutant(
        "deploys while the tests still run",
        FLOW,
        "needs: [lint, test, build]\n",
        "needs: [lint]\n",
        {lab.check_pipeline_deploys_only_tested_main},
    ),
    Mutant(
        "deploys although the tests failed",
        FLOW,
        ONLY_MAIN,
        "    if: always() && github.ref == 'refs/heads/main'\n    runs-on",
        {lab.check_pipeline_deploys_only_tested_main},
    ),
    Mutant(
        "keeps a hanging pod",
        "k8s/api.yaml",
        "livenessProbe:",
        "x-livenessProbe:",
        {lab.check_kubernetes_probes},
    ),
    Mutant(
        "sends requests to pods that only begin to start",
        "k8s/api.yaml",
        "readinessProbe:",
        "x-readinessProbe:",
        {lab.check_kubernetes_probes},
    ),
    Mutant(
        "asks the scheduler for nothing",
        "k8s/worker.yaml",
        "          resources:",
        "          x-resources:",
        {lab.check_kubernetes_resources},
    ),
    Mutant(
        "scales what is not there",
        "k8s/autoscaler.yaml",
        "kind: Deployment, name: api",
        "kind: Deployment, name: web",
        {lab.check_kubernetes_scales},
    ),
    Mutant(
        "scales from two to two",
        "k8s/autoscaler.yaml",
        "maxReplicas: 10",
        "maxReplicas: 2",
        {lab.check_kubernetes_scales},
    ),
    Mutant(
        "backs up an empty database",
        "scripts/backup",
        "        source.backup(target)",
        "        source.total_changes, target.total_changes",
        {lab.check_backup_brings_sqlite_back},
    ),
    Mutant(
        "backs up tables without their rows",
        "scripts/backup",
        '"--format=custom"',
        '"--format=custom", "--schema-only"',
        {lab.check_backup_brings_postgres_back},
    ),
    Mutant(
        "writes the backup and loses it",
        "scripts/backup",
        "        copy.replace(file)",
        "        copy.touch()",
        BACKUPS,
    ),
    Mutant(
        "checks the backup and restores nothing",
        "scripts/restore",
        '    (restore_sqlite if url.startswith("sqlite:") else restore_postgres)(url, file)',
        "    file.read_bytes()",
        BACKUPS,
    ),
]
