# A fresh clone needs Python 3.10 or newer, make and a package index; everything else is installed into .venv.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
STAMP   = $(VENV)/.installed

.PHONY: demo test test-fast lint bench setup clean

demo: $(STAMP)       ## compile recipes/digits for this CPU and print the verdict
	$(BIN)/edgefuse compile recipes/digits --target host -o build/digits.edgefuse

test: $(STAMP) lint  ## the whole test suite
	$(BIN)/python -m pytest

test-fast: $(STAMP)  ## without the slow tests
	$(BIN)/python -m pytest -m "not slow"

lint: $(STAMP)
	$(BIN)/ruff check edgefuse tests benchmarks examples recipes calibration
	$(BIN)/mypy

bench: $(STAMP)      ## the tables of benchmarks/README.md
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/quantizers.py

setup: $(STAMP)

# torch first and alone: its pinned CPU build must be in place before anything that asks for a range of it.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("EdgeFuse needs Python 3.10 or newer; set PYTHON=" if sys.version_info < (3, 10) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist
