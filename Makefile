.PHONY: setup check test slow long vllm bench

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

slow:  ## what takes half a minute and more: CI runs it too
	$(PYTHON) -m pytest -m "slow and not gpu and not vllm"

long:  ## many kills, many processes: up to half an hour, by hand
	$(PYTHON) -m pytest -m "long and not gpu and not vllm"

vllm:  ## the engine on the real vLLM, in two minutes (needs vLLM: README, "With vLLM")
	$(PYTHON) -m pytest -m vllm

bench:  ## every benchmark prints a table
	for script in benchmarks/*.py; do $(PYTHON) $$script; done
