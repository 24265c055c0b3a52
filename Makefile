# The front door. `make help` lists what there is; every target works on a fresh clone.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help serve test lint bench install clean

HOST ?= 127.0.0.1
PORT ?= 5000
WORKERS ?= 2
DEMO ?=
PYTHON ?=
ARGS ?=
export HOST PORT WORKERS DEMO PYTHON

VENV := .venv
BIN := $(VENV)/bin
PROVINCE := $(or $(TIERRA_DATA),data)/province.gpkg

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile
	@echo 'Variables: HOST=$(HOST) PORT=$(PORT) WORKERS=$(WORKERS) DEMO= PYTHON= ARGS="options of pytest or the benchmark"'

serve: $(VENV)/installed $(PROVINCE)  ## start the sample server on http://localhost:5000
	@$(BIN)/tierra demo
	@exec $(BIN)/tierra serve

test: $(VENV)/installed-dev  ## run the whole test suite
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/installed-dev  ## check style, types and the import arrows
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/unit/test_arrows.py

bench: $(VENV)/installed  ## measure speed and memory beside other servers
	$(BIN)/python -m benchmarks.run $(ARGS)

install: $(VENV)/installed-dev  ## make .venv with everything that tests and lint need

clean:  ## remove the environment and every cache; data/ and state/ stay
	rm -rf $(VENV) build benchmarks/.data .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@python=$$(scripts/find-python) && echo "Making $(VENV) with $$python" && "$$python" -m venv --clear $(VENV)

# Installed again only when what is declared has changed.
$(VENV)/installed: setup.cfg pyproject.toml | $(BIN)/python
	@echo 'Installing'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-dev: setup.cfg pyproject.toml | $(BIN)/python
	@echo 'Installing, with what tests and lint need'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	@touch $@ $(VENV)/installed

$(PROVINCE): | $(VENV)/installed
	@mkdir -p $(@D)
	@$(BIN)/python -m data_samples --out $@
