# One place for every command a person or a pipeline types; `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
# The venv is current when it is newer than what it was made from.
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help venv demo demo-down test test-fast lint format bench lock

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $(PYTHON) is older. Install it, or name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "This Python cannot make virtual environments. Install them: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up .venv (Python packages of requirements.lock)" >&2
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@# Where Python is told to write no bytecode, as in many containers, each command would compile these anew: 0.15 s.
	@$(BIN)/python -m compileall -q activities cli mesh worker workflows
	@touch $@

venv: $(STAMP) ## the virtual environment with everything pinned

demo: $(STAMP) ## a whole upgrade on a real API server and a real istiod; stays up for a look
	@$(BIN)/python -m deploy.local.demo up

demo-down: $(STAMP) ## removes the demo: cluster, processes, profile
	@$(BIN)/python -m deploy.local.demo down

test: $(STAMP) ## every test
	@$(BIN)/python -m deploy.local build
	@$(BIN)/pytest

test-fast: $(STAMP) ## the tests that need no cluster
	@$(BIN)/pytest -m "not mesh and not scale"

bench: $(STAMP) ## what readings, restarts and a long queue cost
	@$(BIN)/python -m tests.bench

lint: $(STAMP) ## ruff, mypy strict, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(STAMP) ## what ruff can mend by itself
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

lock: $(STAMP) ## writes requirements.lock anew from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate -o requirements.lock pyproject.toml
