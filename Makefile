.PHONY: setup check test slow bench

PYTHON ?= .venv/bin/python

setup:  ## a virtual environment with everything the tests need
	python3 -m venv .venv
	.venv/bin/pip install --quiet -e '.[test]'

check:  ## style and types (needs the dev extra)
	$(PYTHON) -m ruff check plm tests benchmarks
	$(PYTHON) -m ruff format --check plm tests benchmarks
	$(PYTHON) -m mypy

test:  ## what runs everywhere, in a few minutes
	$(PYTHON) -m pytest

slow:  ## the rest, without a GPU
	$(PYTHON) -m pytest -m "slow and not gpu and not vllm"

bench:  ## every benchmark prints a table
	for script in benchmarks/*.py; do $(PYTHON) $$script; done
