"""Faults in deployment files: each is one edit of the finished service's files, and the one rule that must see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """Replace `old`, which stands in `file` once, by `new`; an empty `old` replaces the whole file."""

    rule: str
    file: str
    old: str
    new: str

    @property
    def name(self) -> str:
        """A name for the test."""
        return f"{self.rule}: {(self.new or 'nothing').strip()[:40]!r}"


START = '["sh", "-c", "exec uvicorn app.main:app --host 0.0.0.0 --port ${PORT:-8000} --timeout-graceful-shutdown 8"]'
UVICORN = '"uvicorn", "app.main:app", "--host", "0.0.0.0", "--port"'
PROBE = (
    '["python", "-c", \\\n    "import os, urllib.request as r; r.urlopen(\'http://127.0.0.1:\''
    " + os.environ.get('PORT', '8000') + '/livez', timeout=2)\"]"
)
PROBED = f"HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD {PROBE}"
WORKER_NEEDS = '            requests: {cpu: 250m, memory: 384Mi}\n            limits: {cpu: "1", memory: 768Mi}\n'
WEB = "web: exec uvicorn app.main:app --host 0.0.0.0 --port $PORT --timeout-graceful-shutdown 8"

IMAGE = [
    Fault("dockerfile-unreadable", "Dockerfile", "EXPOSE 8000", "EXPOSED 8000"),
    Fault("dockerfile-unreadable", "Dockerfile", "", "# nothing but a comment\n"),
    Fault("dockerfile-unreadable", "Dockerfile", "EXPOSE 8000", "RUN <<END\necho open"),
    Fault("base-unpinned", "Dockerfile", "FROM python:3.13-slim AS build", "FROM python:3-slim AS build"),
    Fault("base-unpinned", "Dockerfile", "FROM python:3.13-slim AS build", "FROM python AS build"),
    Fault("base-unpinned", "Dockerfile", "FROM python:3.13-slim\n", "FROM python:slim\n"),
    Fault(
        "base-unpinned", "Dockerfile", "FROM python:3.13-slim\n", "FROM registry.example:5000/python:latest\nUSER 7\n"
    ),
    Fault("base-unpinned", "Dockerfile", "FROM python:3.13-slim AS build", "ARG V=3\nFROM python:${V}-slim AS build"),
    Fault("code-before-dependencies", "Dockerfile", "COPY requirements.txt .", "COPY . ."),
    Fault("code-before-dependencies", "Dockerfile", "COPY requirements.txt .", "COPY app app\nCOPY requirements.txt ."),
    Fault(
        "code-before-dependencies", "Dockerfile", "COPY requirements.txt .", 'COPY ["requirements.txt", "app", "./"]'
    ),
    Fault("code-before-dependencies", "Dockerfile", "COPY requirements.txt .", "RUN pip install uv\nADD . /src/"),
    Fault("runs-as-root", "Dockerfile", "USER 10001:10001", ""),
    Fault("runs-as-root", "Dockerfile", "USER 10001:10001", "USER 10001\nUSER root"),
    Fault("runs-as-root", "Dockerfile", "USER 10001:10001", "ARG WHO=0\nUSER ${WHO}:10001"),
    Fault("secret-in-image", "Dockerfile", "EXPOSE 8000", "ENV JWT_SECRET=change-me-change-me-change-me-change"),
    Fault("secret-in-image", "Dockerfile", "EXPOSE 8000", "ENV POSTGRES_PASSWORD hunter2"),
    Fault("secret-in-image", "Dockerfile", "EXPOSE 8000", "ARG OPENAI_API_KEY\nENV OPENAI_API_KEY=${OPENAI_API_KEY}"),
    Fault("secret-in-image", "Dockerfile", "EXPOSE 8000", "ARG API_TOKEN=abcdefgh"),
    Fault(
        "secret-in-image", "Dockerfile", "sqlite:////data/service.db", "postgresql://service:hunter2@postgres/service"
    ),
    Fault("no-healthcheck", "Dockerfile", PROBED, ""),
    Fault("no-healthcheck", "Dockerfile", PROBED, "HEALTHCHECK NONE"),
    Fault("healthcheck-elsewhere", "Dockerfile", "+ '/livez'", "+ '/health'"),
    Fault("healthcheck-elsewhere", "Dockerfile", PROBE, "curl_ok() { exit 0; }; exit 0"),
    Fault("healthcheck-without-tool", "Dockerfile", PROBE, "curl --fail http://127.0.0.1:8000/livez || exit 1"),
    Fault("healthcheck-without-tool", "Dockerfile", PROBE, '["wget", "-q", "-O-", "http://127.0.0.1:8000/livez"]'),
    Fault("start-missing", "Dockerfile", f"CMD {START}", ""),
    Fault("start-not-json", "Dockerfile", START, "['uvicorn', 'app.main:app', '--host', '0.0.0.0', '--port', '$PORT']"),
    Fault("start-not-json", "Dockerfile", START, f"[{UVICORN},]"),
    Fault("start-in-shell", "Dockerfile", START, "uvicorn app.main:app --host 0.0.0.0 --port ${PORT:-8000}"),
    Fault("start-loses-sigterm", "Dockerfile", "exec uvicorn", "uvicorn"),
    Fault("start-loses-sigterm", "Dockerfile", "exec uvicorn", "echo starting && uvicorn"),
    Fault("start-loses-sigterm", "Dockerfile", "EXPOSE 8000", "STOPSIGNAL SIGKILL"),
    Fault("start-loses-sigterm", "Dockerfile", '["sh", "-c", "exec uvicorn', '["tini", "--", "sh", "-c", "uvicorn'),
    Fault("start-on-loopback", "Dockerfile", "--host 0.0.0.0 ", "--host 127.0.0.1 "),
    Fault("start-on-loopback", "Dockerfile", "--host 0.0.0.0 ", ""),
    Fault("start-ignores-port", "Dockerfile", "${PORT:-8000} ", "8000 "),
    Fault("start-ignores-port", "Dockerfile", START, f'[{UVICORN}, "8000"]'),
    Fault("start-port-unexpanded", "Dockerfile", START, f'[{UVICORN}, "$PORT"]'),
    Fault("start-app-missing", "Dockerfile", "app.main:app", "main:app"),
    Fault("dockerignore-missing", ".dockerignore", "", ""),
]

COMPOSE = [
    Fault("compose-unreadable", "compose.yaml", "services:\n", "services:\n\t- api\n"),
    Fault("compose-unreadable", "compose.yaml", "volumes:\n  redis:", "volumes:\n  redis:\n  redis:"),
    Fault("compose-service-missing", "compose.yaml", "\n  worker:", "\n  queue:"),
    Fault(
        "worker-is-another-api",
        "compose.yaml",
        '    command: ["celery", "-A", "app.worker", "worker", "--concurrency", "2"]\n',
        "",
    ),
    Fault(
        "start-not-gated", "compose.yaml", "redis: {condition: service_healthy}", "redis: {condition: service_started}"
    ),
    Fault("start-not-gated", "compose.yaml", "    postgres: {condition: service_healthy}\n", ""),
    Fault(
        "gate-without-healthcheck",
        "compose.yaml",
        'test: ["CMD", "redis-cli", "ping"]',
        "disable: true",
    ),
    Fault(
        "store-published",
        "compose.yaml",
        'volumes: ["redis:/data"]',
        'volumes: ["redis:/data"]\n    ports: ["6379:6379"]',
    ),
    Fault(
        "store-published",
        "compose.yaml",
        "image: postgres:17.6-alpine",
        "image: postgres:17.6-alpine\n    ports: ['127.0.0.1:5432:5432']",
    ),
    Fault(
        "store-published", "compose.yaml", "image: redis:8.2-alpine", "image: redis:8.2-alpine\n    network_mode: host"
    ),
    Fault("compose-secret", "compose.yaml", "${JWT_SECRET:?set it in .env}", "super-secret-super-secret-super-secret"),
    Fault(
        "compose-secret",
        "compose.yaml",
        "${JWT_SECRET:?set it in .env}",
        "${JWT_SECRET:-super-secret-super-secret-super}",
    ),
    Fault("compose-secret", "compose.yaml", "service:${POSTGRES_PASSWORD:?set it in .env}@", "service:service@"),
    Fault(
        "compose-secret",
        "compose.yaml",
        "POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?set it in .env}",
        "POSTGRES_PASSWORD: postgres",
    ),
    Fault("compose-secret", "compose.yaml", '"redis-server", ', '"redis-server", "--requirepass", "hunter2", '),
    Fault("compose-no-limits", "compose.yaml", 'limits: {cpus: "0.5", memory: 256M}', 'reservations: {cpus: "0.5"}'),
    Fault(
        "compose-no-restart",
        "compose.yaml",
        'restart: unless-stopped\n    security_opt: ["no-new-privileges:true"]\n    volumes: ["redis',
        'restart: no\n    volumes: ["redis',
    ),
]

PLATFORMS = [
    Fault("procfile-missing", "Procfile", "", ""),
    Fault("procfile-unreadable", "Procfile", "worker: exec", "worker exec"),
    Fault("procfile-no-web", "Procfile", "web: exec", "api: exec"),
    Fault("procfile-ignores-port", "Procfile", "--port $PORT", "--port 8000"),
    Fault("procfile-ignores-port", "Procfile", WEB, "web: uvicorn app.main:app --host 0.0.0.0"),
    Fault("procfile-ignores-port", "Procfile", WEB, "web: gunicorn app.main:app -k asgi -b 0.0.0.0:8000"),
    Fault("procfile-on-loopback", "Procfile", "--host 0.0.0.0", "--host localhost"),
    Fault("procfile-on-loopback", "Procfile", "--host 0.0.0.0 ", ""),
    Fault("procfile-app-missing", "Procfile", "app.main:app", "main:app"),
    Fault("railway-missing", "railway.toml", "", ""),
    Fault("railway-unreadable", "railway.toml", "[build]", "[build"),
    Fault(
        "railway-start",
        "railway.toml",
        "[deploy]",
        '[deploy]\nstartCommand = "uvicorn app.main:app --host 0.0.0.0 --port 8000"',
    ),
    Fault(
        "railway-unexpanded",
        "railway.toml",
        "[deploy]",
        '[deploy]\nstartCommand = "uvicorn app.main:app --host 0.0.0.0 --port $PORT"',
    ),
    Fault("railway-value", "railway.toml", '"ON_FAILURE"', '"sometimes"'),
    Fault("railway-value", "railway.toml", '"/readyz"', '"readyz"'),
]

FLOW = ".github/workflows/deploy.yml"
ONLY_MAIN = "    if: github.ref == 'refs/heads/main' && github.event_name == 'push'\n    runs-on"
WORKFLOW = [
    Fault("workflow-missing", FLOW, "", ""),
    Fault("workflow-unreadable", FLOW, "permissions: {}", "permissions: {"),
    Fault("workflow-no-lint", FLOW, "ruff check --select F,B,ASYNC .", "python -m compileall app"),
    Fault("workflow-no-test", FLOW, "python -m pytest", "python -m compileall app"),
    Fault("workflow-no-lint", FLOW, "ruff check --select F,B,ASYNC .", "ruff --version"),
    Fault("workflow-no-test", FLOW, "python -m pytest", "pip install pytest && echo pytest"),
    Fault("workflow-no-build", FLOW, "run: docker build --tag", "run: docker pull"),
    Fault("workflow-failure-swallowed", FLOW, "python -m pytest", "python -m pytest || true"),
    Fault("workflow-failure-swallowed", FLOW, "python -m pytest", "python -m pytest | tee tests.log"),
    Fault(
        "workflow-failure-swallowed",
        FLOW,
        "run: python -m pytest",
        "run: python -m pytest\n        continue-on-error: true",
    ),
    Fault(
        "workflow-failure-swallowed",
        FLOW,
        "run: python -m pytest",
        "run: |\n          set +e\n          python -m pytest",
    ),
    Fault("deploys-from-elsewhere", FLOW, ONLY_MAIN, "    runs-on"),
    Fault(
        "deploys-from-elsewhere",
        FLOW,
        "    if: github.ref == 'refs/heads/main' && github.event_name == 'push'\n    runs-on",
        "    if: github.ref != 'refs/heads/main'\n    runs-on",
    ),
    Fault(
        "deploys-from-elsewhere",
        FLOW,
        ONLY_MAIN,
        "    if: github.base_ref == 'main' || github.ref_name == 'main'\n    runs-on",
    ),
    Fault("deploys-untested", FLOW, "needs: [lint, test, build]\n", "needs: [lint]\n"),
    Fault("deploys-untested", FLOW, ONLY_MAIN, "    if: always() && github.ref == 'refs/heads/main'\n    runs-on"),
    Fault("deploys-untested", FLOW, ONLY_MAIN, "    if: ${{ !cancelled() && github.ref_name == 'main' }}\n    runs-on"),
]

API, SCALER = "k8s/api.yaml", "k8s/autoscaler.yaml"
KUBERNETES = [
    Fault("k8s-unreadable", API, "kind: Service", "kind: {{ .Values.kind }}"),
    Fault("k8s-no-liveness", API, "livenessProbe:", "liveness:"),
    Fault("k8s-no-readiness", API, "readinessProbe:", "readiness:"),
    Fault(
        "k8s-no-resources",
        "k8s/worker.yaml",
        f"          resources:\n{WORKER_NEEDS}",
        "",
    ),
    Fault(
        "k8s-no-resources",
        "k8s/worker.yaml",
        WORKER_NEEDS,
        "            requests: {}\n",
    ),
    Fault("k8s-no-autoscaler", SCALER, "", "---\n"),
    Fault("k8s-autoscaler-aims-at-nothing", SCALER, "kind: Deployment, name: api", "kind: Deployment, name: web"),
    Fault("k8s-autoscaler-aims-at-nothing", SCALER, "kind: Deployment, name: api", "kind: StatefulSet, name: api"),
    Fault("k8s-autoscaler-cannot-scale", SCALER, "maxReplicas: 10", "maxReplicas: 2"),
    Fault(
        "k8s-autoscaler-cannot-scale",
        API,
        '            requests: {cpu: 250m, memory: 256Mi}\n            limits: {cpu: "1", memory: 512Mi}',
        "            limits: {memory: 512Mi}",
    ),
]

SCRIPTS = [
    Fault("script-missing", "scripts/restore", "", ""),
    Fault("script-not-executable", "scripts/backup", "#!/usr/bin/env python3\n", ""),
]

FAULTS = [*IMAGE, *COMPOSE, *PLATFORMS, *WORKFLOW, *KUBERNETES, *SCRIPTS]
