# Every target sets itself up from nothing: python3 (3.11 or newer), make and a package index.
# What is done already is not done again; `make clean` forgets it.

SHELL := /bin/sh
PYTHON ?= python3
# Where it is set, every process of the tests would compile all sources anew.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed
RENDER := $(VENV)/.render-installed
OIDC_FOLDER := tests/support/oidc
OIDC := $(OIDC_FOLDER)/node_modules/.installed
AUDIT_BIN := .venv-audit/bin
AUDIT := .venv-audit/.installed
SOURCES := cortex api activities workflows providers cli simulators worker.py
# Of the tests: many wait for a process or a clock, so two for each core keep both busy.
WORKERS ?= 4
RUNS ?= 5
PYTEST_ARGS ?=
# Whoever is free takes over what another has not begun: both cores work to the end.
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 20
SLOW := e2e or faults or slow
DEMO_ARGS ?=
BENCH_ARGS ?=
FAULTS_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help venv dev render oidc real-temporal demo test test-slow test-busy faults lint format types contracts check provider hooks bench security lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@sh scripts/make-venv.sh "$(PYTHON)" "$(VENV)"

$(RUNTIME): requirements.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

$(DEV): requirements-dev.txt $(RUNTIME)
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	@touch $@

venv: $(RUNTIME) ## Install Cortex and its embedded servers into .venv

dev: $(DEV) ## The same, with the tools for tests and checks

$(RENDER): requirements-render.txt $(RUNTIME)
	$(BIN)/python -m pip install --quiet --requirement requirements-render.txt
	@touch $@

render: $(RENDER) ## Add Blender (about 1 GB) for render jobs on this machine; needs Python 3.11

# Node and npm of the wheel: `npm` starts the `node` that it finds first.
$(OIDC): $(OIDC_FOLDER)/package-lock.json $(DEV)
	cd $(OIDC_FOLDER) && PATH="$(abspath $(BIN)):$$PATH" npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

oidc: $(OIDC) ## Install the OpenID provider that slow tests log in by

demo: $(RUNTIME) ## Run real jobs on an embedded stack, show results and bills, clean up
	$(BIN)/cortex demo $(DEMO_ARGS)

test: $(DEV) ## What needs no whole stack and enumerates nothing; names its slowest (PYTEST_ARGS="...")
	$(PYTEST) -m "not ($(SLOW))" tests $(PYTEST_ARGS)

# Each of these has several processes of its own.
test-slow: WORKERS = 2
test-slow: $(DEV) $(OIDC) ## The rest: whole stacks from outside, browser, kills, the spread part of the proofs
	$(PYTEST) -m "$(SLOW)" tests $(PYTEST_ARGS)

real-temporal: ## Build Temporal's own server for tests on PostgreSQL (Go; 20 minutes, once, kept outside of the tree)
	@sh scripts/real-temporal.sh

test-busy: $(DEV) $(OIDC) ## Both RUNS times (5) while every core is kept busy: no test may depend on a quiet machine
	@sh scripts/test-busy.sh $(RUNS)

faults: $(DEV) ## Prove the promise: every crash point, network fault and kill (FAULTS_ARGS="-k ...")
	$(BIN)/python -m tests.faults.report $(FAULTS_ARGS)

# What bandit tells is explained in pyproject.toml; a name that is no secret, in the line itself.
security: $(AUDIT) ## Static checks, known faults of what is pinned, made-up requests, planted secrets
	$(AUDIT_BIN)/bandit --quiet --recursive --configfile pyproject.toml $(SOURCES)
	$(AUDIT_BIN)/python scripts/audit_pins.py
	$(PYTEST) -m "slow or not slow" tests/security tests/domain/test_rights.py \
		tests/api/test_access.py tests/api/test_access_projects.py tests/api/graphql \
		tests/api/test_openapi_schemathesis.py tests/e2e/test_planted_secrets.py $(PYTEST_ARGS)

lint: $(DEV) ## Style: ruff check and ruff format --check; derived files are up to date
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python scripts/make_sync_client.py --check
	$(BIN)/python scripts/truth_tables.py --check
	$(BIN)/python scripts/check_migrations.py

format: $(DEV) ## Repair what ruff can repair; make the files that are derived from others
	$(BIN)/python scripts/make_sync_client.py
	$(BIN)/python scripts/truth_tables.py
	$(BIN)/python scripts/role_matrix.py
	$(BIN)/python -m api.graphql.schema > docs/schema.graphql
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(DEV) ## mypy --strict over source and tests
	$(BIN)/mypy

contracts: $(DEV) ## Who may import whom
	$(BIN)/lint-imports

check: lint types contracts ## lint, types and contracts

provider: $(DEV) ## Scaffold a network in this repository: make provider NAME=mynet
	@$(BIN)/python scripts/new_provider.py "$(NAME)"

$(AUDIT): $(DEV)
	$(PYTHON) -m venv .venv-audit
	$(AUDIT_BIN)/python -m pip install --quiet bandit==1.9.4 pip-audit==2.10.1 safety-db==2021.7.17
	@touch $@

hooks: $(DEV) ## Run the checks of what is committed before each commit (pre-commit, in this clone)
	$(BIN)/pre-commit install

bench: $(RUNTIME) ## Measure (BENCH_ARGS="--help" lists the options)
	$(BIN)/python -m bench $(BENCH_ARGS)

lock: $(BIN)/python ## Pin the newest versions that pyproject.toml allows (KEEP=1: what is pinned stays)
	$(BIN)/python -m pip install --quiet uv
	sh scripts/lock.sh $(BIN)/uv

clean: ## Remove the environment and every cache
	rm -rf $(VENV) .venv-audit .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
