# Every command that developers and pipelines run. `make` alone lists them.
PYTHON ?= python3
BIN := .venv/bin
# .venv is up to date when this file is newer than the lock file and pyproject.toml.
STAMP := .venv/.installed
# Two processes with a mesh each: most tests of a mesh wait most of the time.
TESTING := -n 2 --durations=20

.DEFAULT_GOAL := help
.PHONY: help venv demo demo-down test test-fast lint format bench lock proto

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed, and $(PYTHON) is older. Install it, or choose another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot create virtual environments. Install the module: apt-get install python3-venv" >&2; exit 1; }
	@echo "Setting up .venv (Python packages of requirements.lock)" >&2
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	@# Where Python writes no bytecode (PYTHONDONTWRITEBYTECODE, set in many containers), each command would compile
	@# these again: 0.15 s.
	@$(BIN)/python -m compileall -q activities cli mesh worker workflows
	@touch $@

venv: $(STAMP) ## set up .venv with everything pinned

demo: $(STAMP) ## run a whole upgrade on a real API server and a real istiod, and leave it running
	@$(BIN)/python -m deploy.local.demo up

demo-down: $(STAMP) ## remove the demo: cluster, processes, profile
	@$(BIN)/python -m deploy.local.demo down

test: $(STAMP) ## run every test
	@$(BIN)/python -m deploy.local build
	@$(BIN)/pytest $(TESTING)

test-fast: $(STAMP) ## run the tests that need no cluster
	@$(BIN)/pytest $(TESTING) -m "not mesh and not scale"

bench: $(STAMP) ## measure surveys, restarts and a long queue
	@$(BIN)/python -m tests.bench

lint: $(STAMP) ## check with ruff, mypy strict and the import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(STAMP) ## format, and fix what ruff can fix
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

lock: $(STAMP) ## update requirements.lock from pyproject.toml
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate -o requirements.lock pyproject.toml

proto: $(STAMP) ## generate the code for activities/kube/pod.proto
	@$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. activities/kube/pod.proto
