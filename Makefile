# Needs python3 (3.11 or newer) with venv, make, and a package registry. Nothing else.

PYTHON ?= python3
ARGS ?=
SECONDS ?= 60
SEED ?=

VENV := .venv
LOWEST_VENV := .venv-lowest
NEWEST_VENV := .venv-newest
AOT_VENV := .venv-aot-
GPU_VENV := .venv-gpu
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

# Versions stand in pyproject.toml alone; these two read them there.
TORCH := $(shell sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)
LOWEST := $(shell sed -n '/^dependencies/,/^]/s/^ *"\(.*\)>=\(.*\)".*/\1==\2/p' pyproject.toml)

# What depends on the versions of JAX and Flax; the rest is arithmetic and messages.
VERSION_TESTS := tests/layers tests/maps tests/call/test_tracebacks.py

# JAX itself uses several threads, so more processes than this only crowd each other.
PYTEST := -m pytest -n auto --maxprocesses=8

# What JAX reads from the environment, a configuration each, and its target.
FLAGS := test-x64 test-strict test-ranks test-eager test-nans test-checks test-leaks
test-x64: export JAX_ENABLE_X64 = true
test-strict: export JAX_NUMPY_DTYPE_PROMOTION = strict
test-ranks: export JAX_NUMPY_RANK_PROMOTION = raise
test-eager: export JAX_DISABLE_JIT = true
test-nans: export JAX_DEBUG_NANS = true
test-checks: export JAX_ENABLE_CHECKS = true
test-leaks: export JAX_CHECK_TRACER_LEAKS = true

# Pythons that are here, to be tested with the newest JAX and Flax.
PYTHONS := $(foreach v,3.11 3.12 3.13,$(if $(shell python$v --version 2>/dev/null),$v))

# The newest JAX needs a newer Python than .venv may have: 3.13 from PATH or from pyenv,
# whose own python3.13 on PATH only runs where it was chosen. Empty where there is none.
NEWEST_PYTHON := $(firstword $(foreach p,python3.13 $(wildcard $(HOME)/.pyenv/versions/3.13*/bin/python),$(if $(shell $p --version 2>/dev/null),$p)))

# Empty where there is no GPU of NVIDIA's. CUDA=12 suits drivers older than 580.
GPU := $(wildcard /dev/nvidia[0-9]* /dev/dxg)
CUDA ?= 13

.DEFAULT_GOAL := help
.PHONY: help setup demo doctor test test-parity versions test-lowest test-newest fuzz bench bench-quick bench-gpu
.PHONY: lint format surface notebooks store-notebooks docs dist clean
.PHONY: test-matrix test-lowest-whole $(FLAGS) $(PYTHONS:%=test-python%)
.PHONY: coverage mutants accuracy cliffs
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

versions: $(LOWEST_VENV)/.setup $(if $(NEWEST_PYTHON),$(NEWEST_VENV)/.setup) ## make the environments of the oldest and the newest JAX

test-lowest: $(LOWEST_VENV)/.setup ## run the fast tests on the oldest JAX and Flax we claim
	$(LOWEST_VENV)/bin/python $(PYTEST) $(VERSION_TESTS) -m "not slow" $(ARGS)

test-newest: $(if $(NEWEST_PYTHON),$(NEWEST_VENV)/.setup) ## run them on the newest, under Python 3.13 if it is here
	$(if $(NEWEST_PYTHON),$(NEWEST_VENV)/bin/python $(PYTEST) $(VERSION_TESTS) -m "not slow" $(ARGS),@echo "test-newest is skipped: there is no Python 3.13 on PATH or under pyenv")

fuzz: $(VENV)/.parity ## try random calls for SECONDS (60), from SEED if it is given
	cd tests && ../$(VENV)/bin/python -m fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

test-matrix: test-lowest-whole $(PYTHONS:%=test-python%) $(FLAGS) ## run the suite on all versions, under all flags

test-lowest-whole: $(LOWEST_VENV)/.setup
	$(LOWEST_VENV)/bin/python $(PYTEST) $(ARGS)

$(PYTHONS:%=test-python%): test-python%: .venv-python%/.setup
	.venv-python$*/bin/python $(PYTEST) $(ARGS)

$(FLAGS): $(VENV)/.parity
	$(VENV)/bin/python $(PYTEST) $(ARGS)

coverage: $(VENV)/.parity ## run the tests and list the lines and branches they leave out
	$(VENV)/bin/python $(PIP_INSTALL) --editable '.[coverage]'
	$(VENV)/bin/python $(PYTEST) --cov $(ARGS)

mutants: setup ## change the arithmetic and list the changes that no test sees
	$(VENV)/bin/python $(PIP_INSTALL) --editable '.[mutants]'
	PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(VENV)/bin/mutmut run
	$(VENV)/bin/mutmut results

accuracy: $(VENV)/.parity ## measure the rounding errors beside PyTorch's
	$(VENV)/bin/python -m benchmarks --accuracy $(ARGS)

bench: $(VENV)/.bench ## race jconvt against PyTorch, ONNX Runtime, Flax, ... (ARGS="--help")
	$(VENV)/bin/python -m benchmarks $(ARGS)

bench-quick: $(VENV)/.bench ## the race over a few layers, in about two minutes
	$(VENV)/bin/python -m benchmarks --quick $(ARGS)

bench-gpu: $(if $(GPU),$(GPU_VENV)/.setup,$(VENV)/.parity) ## the race on the GPU that is here, in under ten minutes
	$(if $(GPU),$(GPU_VENV),$(VENV))/bin/python -m benchmarks.gpu $(ARGS)

cliffs: $(VENV)/.parity ## look for slow layers for SECONDS (60), from SEED if it is given
	$(VENV)/bin/python -m benchmarks.cliffs --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(ARGS)

aot: aot-gpu aot-tpu ## compile the layers for an H100 and a TPU that are not here, and read
	$(AOT_VENV)gpu/bin/python -m benchmarks.aot.page

aot-gpu aot-tpu: aot-%: $(AOT_VENV)%/.setup
	$(AOT_VENV)$*/bin/python -m benchmarks.aot --target $* $(ARGS)

test-aot: test-aot-gpu test-aot-tpu ## run the tests that compile for them

test-aot-gpu test-aot-tpu: test-aot-%: $(AOT_VENV)%/.setup
	$(AOT_VENV)$*/bin/python -m pytest tests/lowerings/test_aot.py tests/lowerings/test_aot_sharding.py $(ARGS)

lint: $(VENV)/.lint ## check format, style, types and workflows
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/basedpyright
	$(VENV)/bin/zizmor --quiet --offline .github

format: $(VENV)/.lint ## format the code and repair what can be repaired
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

surface: setup ## write the snapshot of the public surface anew
	$(VENV)/bin/python tests/surface.py

notebooks: setup ## execute every notebook
	$(if $(wildcard notebooks/*.ipynb),$(VENV)/bin/python $(PYTEST) --nbmake notebooks $(ARGS))

store-notebooks: $(VENV)/.parity ## execute notebooks (ARGS="notebooks/6-*", or all) and store the outputs
	$(VENV)/bin/python notebooks/store.py $(ARGS)

docs: $(VENV)/.docs ## build the documentation site in build/docs; a warning is an error
	$(VENV)/bin/python -m sphinx --quiet --fail-on-warning --keep-going docs build/docs

dist: $(VENV)/.dist ## build the wheel and the sdist in dist/, and check them
	rm -rf dist
	$(VENV)/bin/python -m build --outdir dist
	$(VENV)/bin/python -m twine check --strict dist/*

clean: ## remove everything that these targets made
	rm -rf docs/notebooks docs/results
	rm -rf $(VENV) $(LOWEST_VENV) $(NEWEST_VENV) $(AOT_VENV)gpu $(AOT_VENV)tpu $(GPU_VENV) $(PYTHONS:%=.venv-python%)
	rm -rf build dist .hypothesis .coverage mutants
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

$(VENV)/.dist: $(VENV)/.setup
	$(VENV)/bin/python $(PIP_INSTALL) --editable '.[dist]'
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

$(NEWEST_VENV)/.setup: pyproject.toml
	$(NEWEST_PYTHON) -m venv --clear $(NEWEST_VENV)
	$(NEWEST_VENV)/bin/python $(PIP_INSTALL) --upgrade jax jaxlib flax --editable '.[test]'
	@touch $@

.venv-python%/.setup: pyproject.toml
	python$* -m venv --clear .venv-python$*
	.venv-python$*/bin/python $(PIP_INSTALL) --upgrade --editable '.[test]'
	@touch $@

$(AOT_VENV)%/.setup: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' || \
		{ echo "this needs Python 3.12 or newer, as in: make aot PYTHON=python3.13"; false; }
	$(PYTHON) -m venv --clear $(AOT_VENV)$*
	$(AOT_VENV)$*/bin/python $(PIP_INSTALL) --editable '.[test,aot-$*]'
	@touch $@

# JAX and PyTorch in one command: both say which of CUDA's libraries they want.
$(GPU_VENV)/.setup: pyproject.toml
	$(PYTHON) -m venv --clear $(GPU_VENV)
	$(GPU_VENV)/bin/python $(PIP_INSTALL) 'jax[cuda$(CUDA)]' --editable '.[gpu]'
	@touch $@
