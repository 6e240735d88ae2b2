# `make` lists what there is. The stack itself is embedded/stack (python -m embedded.stack --help).
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
# where it is set, every process compiles anew all that it imports: seconds each
unexport PYTHONDONTWRITEBYTECODE

INSTALLED = [ -x .venv-embedded/bin/python ] || { echo "error: nothing is installed here yet: run \`make up\` first." >&2; exit 1; }
STACK := PYTHONPATH=. .venv-embedded/bin/python -m embedded.stack

.PHONY: help install install-dev up down status logs env run check new-connection load-files \
        export-dashboards sync-datasets test test-unit test-integration test-dbt-adapter test-e2e test-chaos test-minio \
        bench lint lock clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {gsub(/\$$\$$/, "$$"); printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## the Python environments (.venv, .venv-embedded, .venv-superset), from the pinned locks
	@$(if $(PYTHON),PYTHON="$(PYTHON)") bin/install

install-dev: ## the same, and what the tests and linters need
	@$(if $(PYTHON),PYTHON="$(PYTHON)") bin/install dev

up: install ## start everything, apply include/pipelines/, run the newest daily batch
	@$(if $(filter minio,$(S3_SERVER)),bin/minio)
	@$(STACK) up

down: ## stop everything; the data stays in .stack/
	@[ ! -x .venv-embedded/bin/python ] || $(STACK) down

status: ## what runs, where, with how much memory
	@$(INSTALLED); $(STACK) status

logs: ## the last lines of the logs (SERVICE=dremio for one)
	@$(INSTALLED); $(STACK) logs $(SERVICE)

env: ## export lines for a shell: eval "$$(make -s env)"
	@$(INSTALLED); $(STACK) env

run: ## run a DAG and follow it: DAG=daily_batch [DATE=2026-01-31]
	@$(INSTALLED); $(STACK) run $(or $(DAG),$(error say which: make run DAG=daily_batch DATE=2026-01-31)) $(DATE)

check: install ## check what include/pipelines/ declares
	@.venv/bin/python -m lakehouse.ops.check

new-connection: ## ask for a source, discover its streams, declare it: [ARGS="--name crm --type postgres"]
	@$(INSTALLED); $(STACK) new-connection -- $(ARGS)

export-dashboards: ## what was edited in Superset into the bundle's files: [ARGS="--dashboards sales-overview"]
	@$(INSTALLED); $(STACK) export-dashboards -- $(ARGS)

sync-datasets: ## what dbt says of the marts into the dashboards' datasets
	@$(INSTALLED); .venv/bin/python -m lakehouse.dbt.manifest && .venv/bin/lakehouse sync-datasets

load-files: ## invoice CSVs into the inbox in place of the generated ones: DIR=folder
	@$(INSTALLED); $(STACK) load-files $(or $(DIR),$(error say which folder: make load-files DIR=path/to/csvs))

test: install-dev ## everything: lint, unit, integration and end-to-end tests, on an instance of its own
	@bin/test

test-unit: install-dev ## pure logic, in seconds
	@bin/test unit

test-integration: install-dev ## every part against a running stack of the tests' own
	@bin/test integration

test-dbt-adapter: install-dev ## dbt's own adapter suites against the embedded Dremio (long)
	@bin/test dbt-adapter

test-e2e: install-dev ## the whole chain through Airflow's API and two browsers' pages
	@bin/test e2e

test-chaos: install-dev ## every group broken, every group killed, backfills out of order (long)
	@bin/test chaos

test-minio: install-dev ## what touches objects, and the daily batch, against a real MinIO (built by Go)
	@bin/test minio

bench: install-dev ## the tables in benchmarks/ (long)
	@bin/test bench

lint: install-dev ## ruff and mypy
	@bin/test lint

lock: install ## compile the locks anew from the requirements files
	@bin/lock

clean: down ## delete the installation's data and the environments
	@[ ! -x .venv-embedded/bin/python ] || $(STACK) clean
	rm -rf .venv .venv-embedded .venv-superset .venv-uv .minio .mongodb .jdbc .elasticsearch
