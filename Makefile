# The commands of development. They need Python 3.11 to 3.14, git and make.
# `make` alone lists the targets; their scripts are in hack/.

SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PYTHON := $(BIN)/python
# Writes bytecode even where the environment forbids it, as containers often do: then each worker of
# the tests starts 7 seconds sooner.
PYTEST := PYTHONDONTWRITEBYTECODE= $(PYTHON) -m pytest
# Only existing paths: pytest fails on a missing one. The folders with the longest waits come
# first, so that short tests fill the gaps.
TESTS := $(wildcard tests/e2e/test_*.py tests/integration tests/contract tests/unit)
CORES := $(shell getconf _NPROCESSORS_ONLN)
# With 5 workers on 2 cores, a third of the CPU is idle, because operators wait for their grace.
WORKERS := $(shell echo $$((2 * $(CORES) + 4)))
# Tests that each start an API server need more of the CPU, and half a gigabyte each.
FEWER_WORKERS := $(shell echo $$((2 * $(CORES))))
# Further arguments for pytest or the benchmark, such as ARGS="-k wheel".
ARGS :=

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: venv
venv: ## Make or renew .venv from requirements-dev.lock (other targets do it when needed)
	@hack/venv

.PHONY: demo
demo: $(if $(CLUSTER),venv,control-plane) ## Show upgrades of three sample engines (KEEP=1 stays, CLUSTER=current)
	@$(PYTHON) -m cse_simulator.demo $(if $(KEEP),--keep) $(if $(CLUSTER),--cluster=$(CLUSTER))

.PHONY: picture
picture: control-plane ## Record a run of the demo as the README's picture, docs/demo.svg
	$(PYTHON) hack/demo_picture.py docs/demo.svg

.PHONY: test
test: ## Run the tests, except those of the other targets (ARGS="-k …")
	@hack/prepare control-plane judge
	@# The first time, one process writes the tests' bytecode, instead of all workers at once.
	@test -e tests/unit/__pycache__ || $(PYTEST) --collect-only -qq $(TESTS) >/dev/null
	$(PYTEST) -n $(WORKERS) --maxschedchunk=1 $(TESTS) $(ARGS)

.PHONY: commands-test
commands-test: control-plane ## Test check, plan, import and `kubectl cse`
	$(PYTEST) -n $(WORKERS) --maxschedchunk=1 tests/e2e/commands $(ARGS)

.PHONY: demo-test
demo-test: control-plane ## Test the demo and its API server: what they show, and that nothing is left
	$(PYTEST) -n $(FEWER_WORKERS) --maxschedchunk=1 tests/demo $(ARGS)

.PHONY: install-test
install-test: tools ## Install in each way, upgrade an engine, uninstall; test releases and rights
	$(PYTEST) -n $(FEWER_WORKERS) --maxschedchunk=1 tests/install $(ARGS)

.PHONY: test-newest
test-newest: ## Run the unit tests under the newest supported Python (may need root, on Debian)
	hack/test-newest $(ARGS)

.PHONY: faults
faults: control-plane ## Run the fault matrix: kills and false answers at every step
	$(PYTEST) -n auto --dist worksteal tests/faults $(ARGS)

.PHONY: scale
scale: control-plane ## Run what is large: bursts, killed operators, tenants with thousands of resources
	$(PYTEST) tests/scale $(ARGS)

.PHONY: monitoring
monitoring: control-plane ## Test rules, metrics, dashboard and notifications with the real tools
	$(PYTEST) tests/monitoring $(ARGS)

.PHONY: bench
bench: control-plane ## Compare with the peer operators, on the image's Python (QUICK=1: small)
	$(PYTHON) benchmarks/run.py $(if $(QUICK),--quick) $(ARGS)

.PHONY: bench-guard
bench-guard: control-plane ## Fail if an upgrade makes more or fewer calls than it must
	$(PYTHON) benchmarks/run.py --guard

.PHONY: check
check: venv ## Check style, types, layers, the Dockerfile and the generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(if $(wildcard Dockerfile),$(BIN)/hadolint Dockerfile)
	$(PYTHON) hack/generate.py --check

.PHONY: workflows
workflows: ## Check the workflows in .github, and the actions that they use
	@hack/prepare actionlint
	$$(PYTHONPATH=operator:tests $(PYTHON) -m support.go_tools --print actionlint)
	$(BIN)/zizmor --offline --pedantic .github

.PHONY: generate
generate: venv ## Write the generated files anew (CRDs, reference pages and others)
	$(PYTHON) hack/generate.py --write

LOCK := $(BIN)/uv pip compile --universal --generate-hashes --python-version 3.11 --no-annotate \
	--no-header --exclude-newer "7 days" pyproject.toml

.PHONY: lock
lock: venv ## Make the lock files anew from pyproject.toml (ARGS=--upgrade renews all packages)
	$(LOCK) $(ARGS) -o requirements.lock
	$(LOCK) $(ARGS) --extra dev -c requirements.lock -o requirements-dev.lock

.PHONY: control-plane
control-plane: ## Provide kube-apiserver and etcd: from KUBEBUILDER_ASSETS, the cache, or a build
	@hack/prepare control-plane

.PHONY: tools
tools: ## Also provide Helm and kubeconform, for `make install-test` and releases
	@hack/prepare control-plane helm kubeconform

.PHONY: sbom
sbom: venv ## Write the bill of materials to dist/sbom.cdx.json (CycloneDX)
	$(PYTHON) hack/sbom.py dist/sbom.cdx.json

.PHONY: audit
audit: venv ## Ask osv.dev for known vulnerabilities of the locked packages
	$(PYTHON) hack/audit.py requirements.lock requirements-dev.lock

.PHONY: image
image: ## Build the container image with docker, podman or buildah (TAG=…)
	hack/image $(TAG)

.PHONY: image-test
image-test: control-plane ## Build the image with buildah and run it as a Pod would (as root, on Linux)
	hack/image-test $(ARGS)

.PHONY: wheel
wheel: venv ## Build the wheel into dist/
	$(PYTHON) -m hatchling build -t wheel

.PHONY: kubectl-cse
kubectl-cse: venv ## Make the plug-in kubectl-cse in dist/, one file for any Python from 3.11
	$(PYTHON) hack/kubectl_cse.py dist

.PHONY: clean
clean: ## Remove build results and caches; .venv stays
	rm -rf dist .build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(wildcard operator tests hack benchmarks) -name __pycache__ -type d -prune -exec rm -rf {} +
