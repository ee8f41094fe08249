# Everything runs in .venv, which the first target that needs it creates; afterwards no network is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_WORKERS ?= 2
# Without bytecode every start would compile torch and its friends anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## train and probe an autoencoder on the bundled digits (no download)
	$(BIN)/ae-lightning fit --config overcomplete_digits
	@echo "Look at it with: $(BIN)/tensorboard --logdir lightning_logs"

test: $(VENV)/.installed-dev ## run the whole test suite; MNIST is used where AE_LIGHTNING_DATA names it
	$(BIN)/python -m pytest -n $(PYTEST_WORKERS) -rs

lint: $(VENV)/.installed-dev ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev ## mend style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## time training beside a plain PyTorch loop (needs MNIST)
	$(BIN)/python benchmarks/fit_beside_plain_loops.py

clean: ## remove the environment, caches and builds; runs in lightning_logs/ are kept
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/uv: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@touch $@

$(VENV)/.installed: $(BIN)/uv pyproject.toml constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(BIN)/uv pyproject.toml constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.installed
