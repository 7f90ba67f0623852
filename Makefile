# `make test` and `make demo` set up what they need, in a virtual environment of the checkout.
# `make test TORCH=2.6.0` does the same with another torch, in an environment of its own.
PYTHON ?= python3
TORCH ?=

VENV := $(CURDIR)/.venv$(if $(TORCH),-$(TORCH))
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PIP := $(PY) -m pip install --quiet --constraint $(VENV)/constraints.txt
PINNED := $(shell sed -n 's/^torch==//p' tools/constraints.txt)
# One thread per worker: two workers with two threads each wait for one another. With worksteal a worker takes a range
# of tests, so that it sets up a file once; idle workers take over at the end.
PYTEST := OMP_NUM_THREADS=1 $(PY) -m pytest
PARALLEL := -n 2 --dist worksteal
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Images of containers set it; every worker and every process of a test would compile the sources anew.
unexport PYTHONDONTWRITEBYTECODE
# Keeps what inductor has compiled.
export TORCHINDUCTOR_CACHE_DIR := $(CURDIR)/.cache/inductor

.PHONY: help test quick lint types fresh pytest exhaustive gpu coverage demo bench calls zoo codegen docs picture clean

help:
	@echo "make test      lint, types, generated files, and every test"
	@echo "make quick     lint, generated files, and the fast tests of functions, recipes and tools; a minute"
	@echo "make exhaustive the tests with every combination of dtype, layout and shape, not every pair"
	@echo "make gpu       every check and time on an NVIDIA GPU, with the torch and pytest of PYTHON (default: python3)"
	@echo "make coverage  every test, and the lines of the package that none runs"
	@echo "make demo      script, save, load without torchinit, re-initialize; a table of all names"
	@echo "make bench     torchinit against torch.nn.init, side by side; a few minutes"
	@echo "make calls     the cost of a call from C++"
	@echo "make zoo       every model of transformers and 200 of timm, recorded and compared; an hour"
	@echo "make codegen   write the generated files"
	@echo "make docs      build the documentation into site/"
	@echo "make picture   take the picture of a report for the documentation, with Chromium"
	@echo "make clean     remove the virtual environments and caches"

# torch goes first and pinned: a range would pull the newest build, with several GB of CUDA packages.
$(STAMP): setup.cfg pyproject.toml tools/constraints.txt
	$(PYTHON) -m venv $(VENV)
	sed 's/^torch==.*/torch==$(or $(TORCH),$(PINNED))/' tools/constraints.txt > $(VENV)/constraints.txt
	$(PIP) torch
	$(PIP) setuptools wheel
	$(PIP) --no-build-isolation --editable '.[dev]'
ifeq ($(TORCH),)
# --no-deps: its dependencies are large and not needed here. Without a build for this machine, its tests are skipped.
	-$(PIP) --no-deps executorch
# In a folder of their own, because a torchvision for CUDA breaks the import of transformers beside a torch without it;
# see tests/support/model_libraries.py. --no-deps: torchvision would bring that torch.
	-$(PIP) --no-deps --upgrade --target $(VENV)/models accelerate peft psutil timm torchvision
endif
	touch $@

test: lint types fresh pytest

quick: $(STAMP) lint fresh
	$(PYTEST) $(PARALLEL) -q -m "not slow" tests/core tests/keyed/test_philox.py tests/recipes tests/tools

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

# Only with the pinned torch: other releases have other annotations.
types: $(STAMP)
ifeq ($(TORCH),)
	$(PY) -m mypy
	$(PY) -m mypy.stubtest torchinit --mypy-config-file tools/stubtest.cfg --allowlist tools/stubtest.txt
endif

fresh: $(STAMP)
	$(PY) -m tools.codegen --check

pytest: $(STAMP)
	$(PYTEST) $(PARALLEL)

# Every combination of dtype, layout, shape and placement; `make test` takes every pair.
exhaustive: $(STAMP)
	TORCHINIT_EXHAUSTIVE=1 $(PYTEST) $(PARALLEL)

# Installs nothing: pytest may also come from PYTHONPATH.
gpu:
	$(PYTHON) -m tools.gpu --force

# Shows which lines of the package the whole suite runs; takes a third longer than the suite.
coverage: $(STAMP)
	rm -rf .cache/coverage
	mkdir -p .cache/coverage
	OMP_NUM_THREADS=1 $(PY) -m coverage run --rcfile=setup.cfg -m pytest $(PARALLEL)
	$(PY) -m coverage combine --rcfile=setup.cfg --quiet
	$(PY) -m coverage report --rcfile=setup.cfg

demo: $(STAMP)
	$(PY) -m tools.demo

# Never part of `make test`: what it prints depends on what else the machine does.
bench: $(STAMP)
	$(PIP) matplotlib
	KINETO_LOG_LEVEL=99 $(PY) -m tools.bench --json docs/benchmark.json --png docs/benchmark.png

calls: $(STAMP)
	$(PY) -m tools.bench.calls

zoo: $(STAMP)
	OMP_NUM_THREADS=1 $(PY) -m tools.zoo --page docs/explanation/models.md

codegen: $(STAMP)
	$(PY) -m tools.codegen
	$(PY) -m tools.operators

# -n: a reference to an unknown name is a warning; -W: a warning is an error.
docs: $(STAMP)
	$(PY) -m sphinx -n -W --keep-going -q -d .cache/doctrees docs site

picture: $(STAMP)
	$(PY) -m tools.docs.screenshot

clean:
	rm -rf .venv .venv-* .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist site docs/pictures *.egg-info
