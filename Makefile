# Tasks of the project. `make` without a target lists them. CI runs only these targets.
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := iogate tests bench
# Tests wait for processes and deadlines half of their time, so that two processors are enough for three.
WORKERS ?= 3
# Without cached bytecode each process compiles the whole project, which is a third of its start-up time.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup run test lint check fmt bench faults parity

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Create .venv and install the dependencies; repeated only after they change

# Prefer 3.12 and 3.11: every dependency has wheels for them.
$(STAMP): requirements.lock pyproject.toml
	@python=''; \
	for each in $(PYTHON) python3.12 python3.11 python3.13 python3.14 python3 python; do \
	  if command -v "$$each" >/dev/null 2>&1 && \
	    "$$each" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' \
	      >/dev/null 2>&1; then python="$$each"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "no Python 3.11 to 3.14 with venv found: install one, or use make PYTHON=/path/to/python" >&2; exit 1; \
	fi; \
	if [ ! -x $(BIN)/python ] || ! $(BIN)/python -c '' 2>/dev/null; then "$$python" -m venv --clear $(VENV); fi
	@echo "installing into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: setup ## Serve ./apis.d and ./workflows.d: store, gateway, worker
	@exec $(BIN)/iogate up $(ARGS)

test: setup $(if $(ARGS),,lint) ## Run all tests, after lint; with ARGS only the selected ones
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: setup ## Verify format, lint rules, types and import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

check: lint ## Lint, and run the quick tests: under a minute
	@$(BIN)/python -m pytest -n 2 -x tests/test_house.py tests/documents tests/compiler tests/engine tests/expressions tests/secrets tests/reconcile

fmt: setup ## Format the code and fix lint errors where possible
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup ## Measure accepting and executing beside plain Litestar and RQ
	@$(BIN)/python -m bench $(ARGS)

parity: setup ## Run all conformance cases (not a sample) with the command and behind a gateway
	@PARITY=all $(BIN)/python -m pytest --timeout 900 tests/conformance/test_parity.py $(ARGS)

faults: setup ## Kill processes, and publish revisions, under load; count what is lost or mixed
	@$(BIN)/python -m tests.faults.commit_points
	@$(BIN)/python -m tests.faults.chaos --kills 100 $(ARGS)
	@$(BIN)/python -m tests.faults.canaries
	@$(BIN)/python -m tests.faults.operator_canaries
	@$(BIN)/python -m tests.faults.publication
	@$(BIN)/python -m tests.faults.batches
