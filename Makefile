# `make grade` does it all: the first call makes .venv, every call grades. `make help` lists the rest.

SERVICE ?= labs/service
LABS    ?=
ARGS    ?=
PYTHON  ?=

MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help
.SUFFIXES:
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

bin := .venv/bin
# Named after all that .venv is made from, so that a change, and nothing else, leads to a new set-up.
ready := .venv/.ready-$(shell { pwd -P; echo "$(PYTHON)"; cat pyproject.toml requirements.lock; } 2>/dev/null | cksum | cut -d ' ' -f 1)

$(ready):
	@for python in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.14 python3.11 python); do \
		"$$python" -c 'import sys; sys.exit(not (3, 11 + (sys.platform == "darwin")) <= sys.version_info[:2] < (3, 15))' 2>/dev/null \
		&& exec "$$python" -P grader/bootstrap.py $(notdir $@) $(if $(PYTHON),"$(PYTHON)"); \
	done; \
	echo '$(if $(PYTHON),$(PYTHON) is not,Nothing on the PATH is) a Python 3.11 to 3.14 (on macOS 3.12 to 3.14).' \
		'Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12' >&2; exit 1

rehearse = COURSE_HOME="$(CURDIR)/.course/rehearsal" $(bin)/python -m pytest --nbval-lax -n 2 --dist loadfile -q notebooks $(ARGS)

##@ Learn
grade: $(ready)  ## Grade your service: make grade LABS="3 4" SERVICE=labs/service ARGS=--hint
	@$(bin)/grade $(LABS) --service "$(SERVICE)" $(ARGS)

lab: $(ready)  ## Open JupyterLab: notebooks, briefs, pages and tiles of the course
	@$(bin)/python -P -m grader.lab.command $(ARGS)

serve: $(ready)  ## Run your service on http://127.0.0.1:8000, with a Redis and a model of its own
	@$(bin)/course serve $(ARGS)

doctor: $(ready)  ## Show each part that grading needs, and what is missing
	@$(bin)/grade doctor

setup: $(ready)  ## Make .venv; PYTHON=python3.12 picks the version
	@echo ".venv is ready: $$($(bin)/python --version)"

##@ Work on the workbook
test: $(ready)  ## Run the tests on two processors, but for the laws: make test ARGS="tests/test_report.py -k points"
	@$(bin)/python -m pytest -n 2 --dist worksteal -m "not law" $(ARGS)

prove: $(ready)  ## Prove the laws: every fault, unlike service, state, hostile submission and cheat; ARGS="cheats --sample 9"
	@$(bin)/course prove $(ARGS)

test-notebooks: $(ready)  ## Run every notebook: as learners get it, then solved against the finished service
	@COURSE_EXERCISES=todo COURSE_SERVICE="$(CURDIR)/labs/service" $(rehearse)
	@COURSE_EXERCISES=solved COURSE_SERVICE="$(CURDIR)/solutions/service" $(rehearse)

test-incidents: $(ready)  ## Break production in every way: faults and wrong mends must fail their proof, right mends pass
	@INCIDENTS=all $(bin)/python -m pytest tests/test_incidents.py tests/test_incident_drills.py $(ARGS)

test-browser: $(ready)  ## Open JupyterLab in Chromium; SCREENSHOTS=folder keeps pictures
	@BROWSER_TESTS=1 $(bin)/python -m pytest tests/test_browser.py $(ARGS)

book: $(ready)  ## Write the course as a static site into book/
	@$(bin)/python -P -m grader.lab.book $(ARGS)

lint: $(ready)  ## Check style, form and spelling
	@$(bin)/ruff check
	@$(bin)/ruff format --check
	@$(bin)/codespell

types: $(ready)  ## Check types
	@$(bin)/mypy

format: $(ready)  ## Mend what ruff can mend
	@$(bin)/ruff check --fix
	@$(bin)/ruff format

lock: $(ready)  ## Re-make requirements.lock from pyproject.toml; ARGS=--upgrade takes newer versions
	@$(bin)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--group dev $(ARGS) pyproject.toml --output-file requirements.lock

bench: $(ready)  ## Measure the grader: time of a run, calls that the provider can take
	@for name in grading load provider; do echo "== $$name"; $(bin)/python "benchmarks/$$name.py" || exit 1; done

soak: $(ready)  ## Grade again and again, and count verdicts that flip; ARGS=--busy keeps the processors busy
	@$(bin)/python benchmarks/soak.py $(ARGS)

stack-up: $(ready)  ## Start the lab stack without containers: balancer, replicas, Redis, PostgreSQL, model
	@$(bin)/python -P -m grader.stack_command up

stack-down: $(ready)  ## End it, wherever it was started
	@$(bin)/python -P -m grader.stack_command down

test-compose: $(ready)  ## Build and run docker-compose.yml, scale it, break it, where a Docker engine answers
	@COMPOSE_TESTS=1 $(bin)/python -m pytest -s tests/test_compose.py tests/test_compose_running.py $(ARGS)

clean:  ## Remove caches and build leftovers, never your work
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	@find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

clean-all: clean  ## The same, and .venv
	@rm -rf .venv

help:
	@awk -F ':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

.PHONY: grade lab serve doctor setup test prove test-notebooks test-incidents test-browser test-compose book lint types format lock bench soak stack-up stack-down clean clean-all help
