# Needs python3 (3.11 or newer) with venv, make, and a package registry. Nothing else.

PYTHON ?= python3
ARGS ?=

VENV := .venv
LOWEST_VENV := .venv-lowest
AOT_VENV := .venv-aot-
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

# Versions stand in pyproject.toml alone; these two read them there.
TORCH := $(shell sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)
LOWEST := $(shell sed -n '/^dependencies/,/^]/s/^ *"\(.*\)>=\(.*\)".*/\1==\2/p' pyproject.toml)

# What depends on the versions of JAX and Flax; the rest is arithmetic and messages.
LOWEST_TESTS := $(addprefix tests/test_,$(addsuffix .py,\
	differentiation drop_in drop_in_tools dtypes export layers linen nnx nonfinite norms \
	sharding tracebacks transforms))

# JAX itself uses several threads, so more processes than this only crowd each other.
PYTEST := -m pytest -n auto --maxprocesses=8

.DEFAULT_GOAL := help
.PHONY: help setup demo doctor test test-parity test-lowest bench bench-quick lint format notebooks docs clean
.PHONY: aot aot-gpu aot-tpu test-aot test-aot-gpu test-aot-tpu

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.setup ## make .venv with jconvt, its demo and its tests

demo: setup ## train a super-resolution network on photographs, and compare
	$(VENV)/bin/python -m jconvt demo

doctor: setup ## print versions and devices, and check values and gradients
	$(VENV)/bin/python -m jconvt doctor $(ARGS)

test: setup ## run tests and doctests (ARGS="-k geometry" to choose)
	$(VENV)/bin/python $(PYTEST) $(ARGS)

test-parity: $(VENV)/.parity ## the same, with PyTorch, Keras, ONNX, ... to compare with
	$(VENV)/bin/python $(PYTEST) $(ARGS)

test-lowest: $(LOWEST_VENV)/.setup ## run the fast tests on the oldest JAX and Flax we claim
	$(LOWEST_VENV)/bin/python $(PYTEST) $(LOWEST_TESTS) -m "not slow" $(ARGS)

bench: $(VENV)/.bench ## race jconvt against PyTorch, ONNX Runtime, Flax, ... (ARGS="--help")
	$(VENV)/bin/python -m benchmarks $(ARGS)

bench-quick: $(VENV)/.bench ## the race over a few layers, in about two minutes
	$(VENV)/bin/python -m benchmarks --quick $(ARGS)

aot: aot-gpu aot-tpu ## compile the layers for an H100 and a TPU that are not here, and read

aot-gpu aot-tpu: aot-%: $(AOT_VENV)%/.setup
	$(AOT_VENV)$*/bin/python -m benchmarks.aot --target $* $(ARGS)

test-aot: test-aot-gpu test-aot-tpu ## run the tests that compile for them

test-aot-gpu test-aot-tpu: test-aot-%: $(AOT_VENV)%/.setup
	$(AOT_VENV)$*/bin/python -m pytest tests/test_aot.py tests/test_aot_sharding.py $(ARGS)

lint: $(VENV)/.lint ## check format, style and types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/basedpyright

format: $(VENV)/.lint ## format the code and repair what can be repaired
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

notebooks: setup ## execute every notebook
	$(if $(wildcard notebooks/*.ipynb),$(VENV)/bin/python $(PYTEST) --nbmake notebooks $(ARGS))

docs: $(VENV)/.docs ## build the documentation site in build/docs; a warning is an error
	$(VENV)/bin/python -m sphinx --quiet --fail-on-warning --keep-going docs build/docs

clean: ## remove everything that these targets made
	rm -rf $(VENV) $(LOWEST_VENV) $(AOT_VENV)gpu $(AOT_VENV)tpu build dist .hypothesis
	rm -rf docs/notebooks docs/results
	rm -rf .pytest_cache .ruff_cache tests/.ruff_cache
	find jconvt tests benchmarks -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# Each environment carries stamps, so it is only touched when pyproject.toml changes.

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.setup: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python $(PIP_INSTALL) --editable '.[test,demo]'
	@touch $@

$(VENV)/.lint: $(VENV)/.setup
	$(VENV)/bin/python $(PIP_INSTALL) --editable '.[lint]'
	@touch $@

$(VENV)/.docs: $(VENV)/.setup
	$(VENV)/bin/python $(PIP_INSTALL) --editable '.[docs]'
	@touch $@

# PyTorch first and alone: asked for beside packages that want any torch, pip may
# choose a build with several gigabytes of CUDA.
$(VENV)/.parity: $(VENV)/.setup
	$(VENV)/bin/python $(PIP_INSTALL) $(TORCH)
	$(VENV)/bin/python $(PIP_INSTALL) --editable '.[parity]'
	@touch $@

$(VENV)/.bench: $(VENV)/.parity
	$(VENV)/bin/python $(PIP_INSTALL) --editable '.[bench]'
	@touch $@

$(LOWEST_VENV)/.setup: pyproject.toml
	$(PYTHON) -m venv --clear $(LOWEST_VENV)
	$(LOWEST_VENV)/bin/python $(PIP_INSTALL) $(LOWEST) --editable '.[test]'
	@touch $@

$(AOT_VENV)%/.setup: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' || \
		{ echo "this needs Python 3.12 or newer, as in: make aot PYTHON=python3.13"; false; }
	$(PYTHON) -m venv --clear $(AOT_VENV)$*
	$(AOT_VENV)$*/bin/python $(PIP_INSTALL) --editable '.[test,aot-$*]'
	@touch $@
