# One command each. `make demo` and `make install` need Python >= 3.11 and nothing else; the first run fetches what the lock file names.

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
# Two workers take tests with servers: more of them only make each other's clocks worse. A spare one runs the others in the gaps that they leave.
TEST_WORKERS ?= 2
SPARE_WORKERS ?= 1
PYTEST := $(BIN)/python -m pytest -n $(shell echo $$(($(TEST_WORKERS) + $(SPARE_WORKERS)))) --spare $(SPARE_WORKERS) --dist loadscope --no-loadscope-reorder
export SCRUBJAY_MINIO_VERSION ?= v0.0.0-20260212201848-7aac2a2c5b7c

.PHONY: help install install-dev demo demo-cluster cluster cluster-stop sim test test-fast check style documents format bench lock minio clean

help:
	@echo "make demo       the whole promise on real data, in under two minutes after installation"
	@echo "make demo-cluster  the same on a cluster of four processes, one of which is killed on the way"
	@echo "make install    virtual environment in .venv from requirements.lock: .venv/bin/scrubjay"
	@echo "make cluster    three storage nodes and a durability process, each a process of its own, below ./cluster; make cluster-stop ends it"
	@echo "make test       every test (real servers where they can be had; says what was skipped and why)"
	@echo "make test-fast  what needs no server and no patience, in under two minutes"
	@echo "make sim        seeds of the simulated cluster, noted in docs/seeds.jsonl: SEEDS=1:51 PROFILE=whole|consensus|members|bank"
	@echo "make check      format, lint, import arrows, types, documents"
	@echo "make bench      the measurements of bench/"
	@echo "make minio      build the pinned MinIO into the cache outside this folder"
	@echo "make lock       resolve the lock files anew from pyproject.toml"

# The stamps hold the digest of what was installed, so a second run costs nothing and a pulled change installs itself.
$(VENV)/.runtime: requirements.lock pyproject.toml tools/install.sh
	@tools/install.sh "$(PYTHON)" $(VENV) requirements.lock $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@tools/install.sh "$(PYTHON)" $(VENV) requirements-dev.lock $@

install: $(VENV)/.runtime

install-dev: $(VENV)/.dev

demo: install
	@$(BIN)/scrubjay demo

demo-cluster: install
	@$(BIN)/scrubjay demo --cluster

cluster: install
	@tools/cluster.sh start cluster

cluster-stop:
	@tools/cluster.sh stop cluster

# MinIO and promtool are tried, not demanded: without them their tests are skipped and say so (or fail, under SCRUBJAY_REQUIRE=minio,promtool).
test: install-dev
	@tools/minio.sh || echo "MinIO is not available: its tests will be skipped" >&2
	@tools/promtool.sh || echo "promtool is not available: its tests will be skipped" >&2
	$(PYTEST) tests

# The tests as compiled once are kept, whatever the environment says: to compile them costs each worker 20 s of a processor. No server, so no spare worker; the tests of the documents are of `make check`.
test-fast: install-dev
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadscope --no-loadscope-reorder tests --ignore tests/docs -m "not slow and not s3 and not containers and not process"

SEEDS ?= 1:51
PROFILE ?= whole
sim: install-dev
	$(BIN)/python tools/seeds.py $(SEEDS) --profile $(PROFILE) --ledger docs/seeds.jsonl

# `make check test` runs the tests of the documents once: they are among all tests.
check: style $(if $(filter test,$(MAKECMDGOALS)),,documents)

documents: install-dev
	$(BIN)/python -m pytest -q -n 0 tests/docs

style: install-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

format: install-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install-dev
	$(BIN)/python -m bench

lock: install-dev
	@tools/lock.sh $(BIN)

minio: install-dev
	@tools/minio.sh

clean:
	rm -rf build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
