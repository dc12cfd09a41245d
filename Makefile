# The one door: every target creates what it needs on a machine with Python >= 3.11, make and git.
# Windows without make: the recipes are plain commands; run them from the folder of this file.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := UV_COMPILE_BYTECODE=1 $(BIN)/uv
STAMP := $(VENV)/.installed
HOMEOSTAT := $(BIN)/homeostat
DEMO := run dsprites --scale smoke
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help env demo test slow check format docs pages serve bench requirements clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP) ## Create .venv with the pinned packages and this package in it.

# Done again only when the pins or the package's own declaration change.
$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Expected Python 3.11 or newer, got " + sys.version.split()[0] + ": install one and run make PYTHON=/path/to/it.")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.txt
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP) ## Run the whole system on rendered images; leaves a report under runs/.
	$(HOMEOSTAT) $(DEMO) --out runs/demo-$$(date +%Y%m%d-%H%M%S)

test: $(STAMP) ## Run the tests.
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile $(ARGS)

slow: $(STAMP) ## Run the tests that take minutes or need data.
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile -m slow $(ARGS)

check: $(STAMP) ## Check format, lint, types and architecture.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_shape.py

format: $(STAMP) ## Format the code and mend what can be mended safely.
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

docs: $(STAMP) ## Build the documentation into site/.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

pages: $(STAMP) ## Fill examples and tables of results into the pages of docs/.
	$(BIN)/python .ci/fill_pages.py

serve: $(STAMP) ## Show the documentation while writing it.
	$(BIN)/mkdocs serve

bench: $(STAMP) ## Run the benchmarks.
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

requirements: $(STAMP) ## Pin the requirements anew, with hashes.
	$(BIN)/uv pip compile --quiet --no-header --generate-hashes --universal --python-version 3.11 \
	  pyproject.toml -c requirements/constraints.in -o requirements/base.txt
	$(BIN)/uv pip compile --quiet --no-header --generate-hashes --universal --python-version 3.11 \
	  pyproject.toml --group pyproject.toml:dev -c requirements/constraints.in -o requirements/dev.txt

clean: ## Remove what was built; .venv and runs/ stay.
	rm -rf build dist site .pytest_cache .ruff_cache .hypothesis
	find src tests docs_src benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
