"""Deployment files that chose differently and are right: no rule may fail them."""

from __future__ import annotations

DOCKERFILES = {
    "alpine, pip, one stage, named user": """
FROM python:3.12-alpine3.20
RUN addgroup -S service && adduser -S -G service service
WORKDIR /srv
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
USER service
HEALTHCHECK CMD wget -qO- "http://127.0.0.1:${PORT:-8000}/livez" || exit 1
CMD ["/bin/sh", "-c", "exec uvicorn app.main:app --host=0.0.0.0 --port=${PORT:-8000}"]
""",
    "uv with cache mounts, bind mounts and a digest": f"""
# syntax=docker/dockerfile:1
ARG PYTHON=3.13
FROM ghcr.io/astral-sh/uv:python${{PYTHON}}-bookworm-slim@sha256:{"a" * 64} AS build
ENV UV_COMPILE_BYTECODE=1 \\
    # copies survive another file system
    UV_LINK_MODE=copy \\
    UV_CACHE_DIR=/var/cache/uv

WORKDIR /app
RUN --mount=type=cache,target=/var/cache/uv \\
    --mount=type=bind,source=uv.lock,target=uv.lock \\
    --mount=type=bind,source=pyproject.toml,target=pyproject.toml \\
    uv sync --locked --no-install-project --no-dev
COPY . /app
RUN --mount=type=cache,target=/var/cache/uv uv sync --locked --no-dev

FROM python:${{PYTHON}}-slim-bookworm
COPY --from=build --chown=1000:1000 /app /app
WORKDIR /app
ENV PATH="/app/.venv/bin:$PATH"
USER 1000
HEALTHCHECK CMD ["python", "-m", "app.probe"]
ENTRYPOINT ["tini", "-g", "--"]
CMD ["bash", "-c", "uvicorn app.main:app --host 0.0.0.0 --port $PORT"]
""",
    "poetry, heredocs, gunicorn on its own defaults": """
FROM python:3.13.1-slim AS base
RUN <<EOF
pip install poetry==2.1.0
poetry config virtualenvs.create false
EOF
WORKDIR /srv
COPY pyproject.toml poetry.lock README.md ./
RUN poetry install --only main --no-root
COPY app/ app/
RUN poetry install --only main

FROM base AS production
STOPSIGNAL SIGTERM
USER 65532:65532
HEALTHCHECK --interval=30s CMD python -c "import urllib.request as r; r.urlopen('http://localhost:8000/livez')"
CMD ["gunicorn", "app.main:app", "-k", "asgi", "--workers=2"]
""",
    "distroless by digest, its user in the tag, a launcher of its own": f"""
FROM python:3.11-slim AS build
COPY requirements.txt /
RUN pip wheel --wheel-dir /wheels -r /requirements.txt && pip install --target /deps /wheels/*
FROM gcr.io/distroless/python3-debian12:nonroot@sha256:{"b" * 64}
COPY --from=build /deps /deps
COPY app /srv/app
ENV PYTHONPATH=/srv:/deps
WORKDIR /srv
HEALTHCHECK CMD ["python", "app/probe.py"]
ENTRYPOINT ["/usr/bin/python3", "-m", "app.serve"]
""",
    "an entrypoint script that gives way, and root given up by gosu": """
FROM debian:bookworm-20250113-slim
RUN apt-get update && apt-get install -y python3-pip gosu curl && rm -rf /var/lib/apt/lists/*
COPY requirements.txt /tmp/
RUN pip3 install --break-system-packages -r /tmp/requirements.txt
WORKDIR /srv
COPY app ./app
COPY docker/entrypoint.sh /usr/local/bin/entrypoint.sh
HEALTHCHECK CMD curl -f http://127.0.0.1:$PORT/livez
ENTRYPOINT ["/usr/local/bin/entrypoint.sh"]
CMD ["sh", "-c", "exec granian --interface asgi app.main:app --host 0.0.0.0 --port $PORT"]
""",
    "ARG defaults before FROM, ONBUILD, escape directive, lower case": """# escape=`
arg TAG=3.13-slim
from python:${TAG} as deps
workdir /srv
copy requirements.txt `
     ./
run pip install -r requirements.txt
FROM deps
ARG UID=10001
ONBUILD RUN true
COPY --link app app
LABEL org.opencontainers.image.title="service" password="no secret: a label"
ENV OPENAI_API_KEY="" JWT_SECRET_FILE=/run/secrets/jwt TOKENIZERS_PARALLELISM=false API_KEYS={}
USER ${UID}
HEALTHCHECK --start-period=5s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://[::1]:8000/livez')"]
CMD ["dumb-init", "sh", "-c", "hypercorn app.main:app --bind [::]:$PORT"]
""",
    "worker as the last stage, api by target": """
FROM python:3.13-slim AS base
WORKDIR /srv
COPY requirements.txt .
RUN python -m pip install -r requirements.txt
COPY app app
USER app
FROM base AS api
HEALTHCHECK CMD ["python", "-c", "import http.client as h; h.HTTPConnection('127.0.0.1:8000').request('GET', '/livez')"]
CMD ["sh", "-ec", "exec env A=b uvicorn app.main:app --host :: --port \\"$PORT\\""]
FROM base AS worker
CMD ["celery", "-A", "app.worker", "worker"]
""",
    "fastapi's own command, private base": """
FROM registry.example.com:5000/team/python:3.13
COPY requirements.txt .
RUN pip install -r requirements.txt
COPY app app
HEALTHCHECK CMD ["/bin/health", "livez"]
CMD ["fastapi", "run", "app/main.py"]
""",
    "environment instead of options": """
FROM python:3.13-slim
COPY requirements.txt .
RUN pip install -r requirements.txt
COPY app app
ENV UVICORN_HOST=0.0.0.0
USER nobody
HEALTHCHECK CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/livez')"]
CMD ["sh", "-c", "UVICORN_PORT=$PORT exec uvicorn app.main:app"]
""",
    "copied out of its folder": """
FROM python:3.13-slim
WORKDIR /srv
COPY requirements.txt .
RUN pip install -r requirements.txt
COPY app/ .
USER 1
HEALTHCHECK CMD ["python", "probe.py"]
CMD ["sh", "-c", "exec uvicorn main:app --host 0.0.0.0 --port ${PORT}"]
""",
}

BESIDES = {
    "app/main.py": "app = None\n",
    "app/probe.py": "import urllib.request as r\nr.urlopen('http://127.0.0.1:8000/livez')\n",
    "app/serve.py": "import os, uvicorn\nuvicorn.run('app.main:app', host='0.0.0.0', port=int(os.environ['PORT']))\n",
    "docker/entrypoint.sh": '#!/bin/sh\nset -eu\necho "starting"\nexec gosu 10001 "$@"\n',
    "uv.lock": "",
    "poetry.lock": "",
    "README.md": "# Service\n",
    ".dockerignore": "*.md\n.env*\n.git\n",
}

_STORES = """
  redis:
    image: valkey/valkey:8.1-alpine
    healthcheck: {test: valkey-cli ping}
    mem_limit: 128m
    restart: always
  postgres:
    image: pgvector/pgvector:pg17
    environment: {POSTGRES_PASSWORD_FILE: /run/secrets/db}
    secrets: [db]
    healthcheck: {test: [CMD-SHELL, pg_isready -U postgres]}
    deploy: {resources: {limits: {memory: 1G}}, restart_policy: {condition: on-failure}}
"""

COMPOSE = {
    "lists, env_file, secrets as files": {
        "docker-compose.yml": """
version: "3.9"
services:
  api:
    build: .
    env_file: .env
    environment:
      - OPENAI_API_KEY
      - JWT_SECRET=${JWT_SECRET}
      - DATABASE_URL=postgresql://app:${DB_PASSWORD:?}@postgres/app
      - PRICE=$$5
    depends_on:
      redis: {condition: service_healthy, restart: true}
      migrate: {condition: service_completed_successfully}
    ports: ["8000:8000"]
    cpus: 1.5
    restart: on-failure:5
  migrate:
    build: .
    command: alembic upgrade head
    depends_on: {postgres: {condition: service_healthy}}
  worker:
    build: .
    command: celery -A app.worker worker
    depends_on: [api]
    mem_limit: 512m
    restart: "${RESTART:-unless-stopped}"
"""
        + _STORES
        + "secrets:\n  db: {file: ./secrets/db.txt}\n",
    },
    "extends from a file, anchors, merge lists, override": {
        "common.yaml": """
services:
  process:
    build: .
    restart: always
    environment: &secrets
      JWT_SECRET: ${JWT_SECRET:?}
    depends_on: {redis: {condition: service_healthy}, postgres: {condition: service_healthy}}
""",
        "compose.yaml": """
x-limits: &limits
  mem_limit: 512m
x-pids: &pids {pids_limit: 200}
services:
  api:
    extends: {file: common.yaml, service: process}
    <<: [*limits, *pids]
  worker:
    extends: {service: api}
    entrypoint: [celery, -A, app.worker, worker]
  redis: &store
    image: redis:8.2
    healthcheck: {test: [CMD, redis-cli, ping]}
    restart: always
    <<: *limits
  postgres:
    <<: *store
    image: postgres:17.6
    healthcheck: {test: [CMD, pg_isready]}
    ports: !reset []
""",
        "compose.override.yaml": "services:\n  api:\n    command: sh -c 'exec uvicorn app.main:app --reload'\n",
    },
    "include": {
        "stores/compose.yaml": "services:" + _STORES,
        "compose.yaml": """
include:
  - path: stores/compose.yaml
services:
  api: &api
    build: {context: ., dockerfile: Dockerfile}
    depends_on: {postgres: {condition: service_healthy}, redis: {condition: service_healthy}}
    deploy: {resources: {limits: {cpus: "1"}}}
    restart: unless-stopped
  worker:
    <<: *api
    build: {context: ., dockerfile: Dockerfile.worker}
""",
    },
}

_DEPLOY = "run: railway up --ci\n        env: {RAILWAY_TOKEN: '${{ secrets.RAILWAY_TOKEN }}'}"
_STEPS = """
    steps:
      - uses: actions/checkout@v6
      - run: uvx ruff check
      - run: uv run pytest
      - run: docker compose build
"""

WORKFLOWS = {
    "one job, deploys in its last step": {
        "ci.yml": f"""
on: [push, pull_request]
jobs:
  all:
    runs-on: ubuntu-24.04{_STEPS}
      - if: github.ref_name == github.event.repository.default_branch
        {_DEPLOY}
""",
    },
    "deploys when the other workflow has passed on main": {
        "ci.yml": f"name: CI\non: {{push: , pull_request: }}\njobs:\n  ci:\n    runs-on: ubuntu-24.04{_STEPS}",
        "cd.yml": f"""
on:
  workflow_run: {{workflows: [CI], types: [completed], branches: [main]}}
jobs:
  release:
    if: github.event.workflow_run.conclusion == 'success'
    runs-on: ubuntu-24.04
    steps:
      - {_DEPLOY}
""",
    },
    "deploys by asking the run for its branch": {
        "ci.yml": f"name: CI\non: push\njobs:\n  ci:\n    runs-on: ubuntu-24.04{_STEPS}",
        "cd.yml": f"""
on:
  workflow_run:
    workflows: ["CI"]
    types: [completed]
jobs:
  deploy:
    if: ${{{{ github.event.workflow_run.conclusion == 'success' && github.event.workflow_run.head_branch == 'main' }}}}
    runs-on: ubuntu-24.04
    steps:
      - {_DEPLOY}
""",
    },
    "reusable workflows of this repository": {
        "test.yml": f"on: workflow_call\njobs:\n  unit:\n    runs-on: ubuntu-24.04{_STEPS}",
        "release.yml": f"on: workflow_call\njobs:\n  up:\n    runs-on: ubuntu-24.04\n    steps:\n      - {_DEPLOY}\n",
        "main.yml": """
on: {push: {branches: ['**']}, pull_request: , workflow_dispatch: }
jobs:
  verify: {uses: ./.github/workflows/test.yml}
  deploy:
    needs: verify
    if: ${{ github.event_name != 'pull_request' && endsWith(github.ref, '/main') }}
    uses: ./.github/workflows/release.yml
    secrets: inherit
""",
    },
    "make targets, only pushes to main, a matrix": {
        "main.yml": f"""
on: {{push: {{branches: [main], paths-ignore: ['docs/**']}}}}
defaults: {{run: {{shell: bash}}}}
jobs:
  check:
    strategy: {{matrix: {{python: ["3.12", "3.13"]}}}}
    runs-on: ubuntu-24.04
    steps:
      - run: make quality
      - run: make verify 2>&1 | tee log.txt
  image:
    runs-on: ubuntu-24.04
    steps: [{{uses: docker/build-push-action@v6, with: {{push: true}}}}]
  deploy:
    needs: [check, image]
    runs-on: ubuntu-24.04
    steps:
      - {_DEPLOY}
""",
    },
    "the platform deploys, the pipeline only checks": {
        "ci.yml": """
on: push
jobs:
  ci:
    runs-on: ubuntu-24.04
    steps:
      - run: |
          pre-commit run --all-files
          tox
      - uses: docker/bake-action@v6
""",
    },
    "a preview for pull requests, production for main": {
        "ci.yml": f"""
on: {{push: , pull_request: }}
jobs:
  test:
    runs-on: ubuntu-24.04{_STEPS}
  deploy-preview:
    if: github.event_name == 'pull_request'
    runs-on: ubuntu-24.04
    steps: [{{run: flyctl deploy --app preview}}]
  deploy:
    needs: test
    if: success() && github.ref == 'refs/heads/main'
    environment: {{name: production}}
    runs-on: ubuntu-24.04
    steps: [{{name: Deploy, run: curl -fsS -X POST "$HOOK"}}]
""",
    },
    "conditions that the files do not decide": {
        "ci.yml": f"""
on:
  push: {{tags: ['v*']}}
  workflow_dispatch: {{inputs: {{deploy: {{type: boolean}}}}}}
  schedule: [{{cron: "0 3 * * *"}}]
jobs:
  test:
    runs-on: ubuntu-24.04{_STEPS}
  deploy:
    needs: test
    if: inputs.deploy || contains(vars.TARGETS, 'production')
    runs-on: ubuntu-24.04
    steps: [{{run: helm upgrade --install service ./chart}}]
""",
    },
}

MAKEFILE = "quality:\n\truff check .\n\nverify:\n\tpytest -q\n"

_POD = """
      containers:
        - name: web
          image: ghcr.io/example/service@sha256:0123
          ports: [{containerPort: 8000}]
          livenessProbe: {exec: {command: [python, -m, app.probe]}}
          readinessProbe: {tcpSocket: {port: 8000}}
"""

KUBERNETES = {
    "kustomize: base and overlay with patches": {
        "base/kustomization.yaml": "resources: [web.yaml]\n",
        "base/web.yaml": f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:{_POD}""",
        "overlays/production/kustomization.yaml": "resources: [../../base]\npatches: [{path: resources.yaml}]\n",
        "overlays/production/resources.yaml": """
kind: Deployment
metadata: {name: web}
spec: {template: {spec: {containers: [{name: web, resources: {requests: {cpu: 100m}}}]}}}
""",
        "overlays/production/scaler.yaml": """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  maxReplicas: 5
  scaleTargetRef: {kind: Deployment, name: web}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}]
""",
    },
    "everything in one list, KEDA, a LimitRange, Redis beside it": {
        "all.yaml": f"""
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: LimitRange
  metadata: {{name: defaults}}
  spec: {{limits: [{{type: Container, default: {{memory: 512Mi}}, defaultRequest: {{cpu: 100m}}}}]}}
- apiVersion: apps/v1
  kind: StatefulSet
  metadata: {{name: web}}
  spec:
    selector: {{matchLabels: {{app: web}}}}
    template:
     metadata: {{labels: {{app: web}}}}
     spec:{_POD}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {{name: redis}}
  spec: {{template: {{spec: {{containers: [{{name: redis, image: "redis:8.2", ports: [{{containerPort: 6379}}]}}]}}}}}}
- apiVersion: keda.sh/v1alpha1
  kind: ScaledObject
  metadata: {{name: web}}
  spec: {{scaleTargetRef: {{kind: StatefulSet, name: web}}}}
""",
    },
    "Knative": {
        "service.yml": """
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: web}
spec: {template: {spec: {containers: [{image: 'ghcr.io/example/service:1.0'}]}}}
""",
    },
}

PROCFILES = {
    "python": "web: python -m uvicorn app.main:app --host 0.0.0.0 --port ${PORT:-5000}\n",
    "gunicorn by its defaults": "web: gunicorn app.main:app -k uvicorn_worker.UvicornWorker\nworker: celery worker\n",
    "a script": "web: bash docker/start.sh\n",
    "a launcher": "web: python -m app.serve\nrelease: alembic upgrade head\n",
    "two commands": "web: alembic upgrade head && uvicorn app.main:app --host=:: --port=$PORT\n",
    "a binding from a variable": "web: BIND=0.0.0.0:$PORT hypercorn app.main:app --bind $BIND\n",
    "another folder": "web: uvicorn main:app --app-dir app --host 0.0.0.0 --port $PORT\n",
}

_RAILPACK = "uvicorn app.main:app --host 0.0.0.0 --port $PORT"
RAILWAYS = {
    "json, railpack, a start command in a shell": (
        "railway.json",
        f'{{"build": {{"builder": "RAILPACK"}}, "deploy": {{"startCommand": "{_RAILPACK}"}}}}',
    ),
    "json, dockerfile, wrapped": (
        "railway.json",
        f'{{"deploy": {{"startCommand": "/bin/sh -c \\"exec {_RAILPACK}\\""}}}}',
    ),
    "json, nothing but the schema": ("railway.json", '{"$schema": "https://railway.com/railway.schema.json"}'),
    "toml, environments": (
        "railway.toml",
        '[environments.staging.deploy]\nnumReplicas = 1\n[deploy]\nrestartPolicyType = "ALWAYS"\n',
    ),
}
