# Everything runs inside .venv, which is made on first use. After the install nothing needs a network.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
DEMO := results/demo

.PHONY: demo test lint clean

demo: $(VENV)/.installed
	$(BIN)/kosmos-eval run all --prompt standard,mcot --shots 0,4 --limit 64 --out $(DEMO)
	$(BIN)/kosmos-eval leaderboard $(DEMO) --csv $(DEMO)/leaderboard.csv

test: lint
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(DEMO) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# torch comes first and pinned. On Linux the default build brings gigabytes of CUDA libraries; where there is no GPU,
# `make TORCH_INDEX=<url of PyTorch's CPU wheels> demo` avoids them.
TORCH_INDEX ?=

$(VENV)/.torch: constraints.txt | $(BIN)/python
	$(PIP) install -c constraints.txt $(addprefix --extra-index-url ,$(TORCH_INDEX)) torch==2.13.0
	$(PIP) install -c constraints.txt hatchling editables
	touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(PIP) install -c constraints.txt --no-build-isolation -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install -c constraints.txt --no-build-isolation -e '.[dev]'
	touch $@
