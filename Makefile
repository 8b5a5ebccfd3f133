# make train    create the environment, train on the bundled digits, show the curve
# make test     the fast suite: no network beyond packages, no GPU, no PyTorch
# make peers    install PyTorch and hold our numbers against it
# make ranks    install MPI (mpi4py, mpich) and train with two processes
# make lessons       make the notebooks from lessons/source/ (make lessons ONLY=02 for one)
# make lessons-test  hold the notebooks to their sources and run them all
# make site          the site into build/site/: landing page, lessons, texts, reference (make site-test looks at it in a browser)
# make lint     ruff (lint and format), mypy and import-linter
# make format   let ruff mend what it can

PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
RECIPE ?= digits
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help train test peers ranks lessons lessons-test site site-test lint format clean

help:
	@sed -n 's/^# make/make/p' Makefile

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: tinymixer needs Python 3.11 or newer; say which with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# One stamp per set of packages, renewed when pyproject.toml changes.
$(VENV)/.with-cli: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[cli]'
	@touch $@

$(VENV)/.with-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps 'foolbox==3.3.4'  # its data folder: real pictures for tests
	@touch $@ $(VENV)/.with-cli

$(VENV)/.with-peers: $(VENV)/.with-dev
	$(BIN)/python -m pip install --quiet '$(TORCH)'
	@touch $@

$(VENV)/.with-mpi: $(VENV)/.with-dev
	$(BIN)/python -m pip install --quiet --editable '.[mpi]'
	@touch $@

$(VENV)/.with-site: $(VENV)/.with-dev $(wildcard site/lite/requirements.txt)
	$(BIN)/python -m pip install --quiet --editable '.[site]' $(addprefix --requirement ,$(wildcard site/lite/requirements.txt))
	@touch $@

train: $(VENV)/.with-cli
	$(BIN)/tinymixer train $(RECIPE)

# Compiled modules are kept even where the environment says PYTHONDONTWRITEBYTECODE, as images of containers do: two
# workers and many short processes import the same ones. Whoever is idle takes tests from the other worker.
test: $(VENV)/.with-dev
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 2 --dist worksteal -m 'not peers and not ranks and not site'

peers: $(VENV)/.with-peers
	$(BIN)/python -m pytest -m peers

ranks: $(VENV)/.with-mpi
	$(BIN)/python -m pytest -m ranks tests/parallel

lessons: $(VENV)/.with-dev
	$(BIN)/python lessons/make_notebooks.py $(ONLY)

lessons-test: $(VENV)/.with-dev
	$(BIN)/python lessons/make_notebooks.py --check $(ONLY)

# Any warning is an error. Sphinx reads 500 pages and the machine's cores share them: some minutes.
# make site SITE=--without-lite leaves out the course in the browser, which needs Pyodide's packages.
site: $(VENV)/.with-site
	$(BIN)/python site/build.py $(SITE)

# Needs a Chromium: the system's, the one that CHROMIUM names, or Playwright's (playwright install chromium).
site-test: site
	$(BIN)/python -m pytest -m site tests/site

lint: $(VENV)/.with-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.with-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
