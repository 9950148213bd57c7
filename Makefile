.PHONY: setup check test slow long gpu vllm critique bench

PYTHON ?= .venv/bin/python
PARALLEL ?= -n 2 --dist loadfile

setup:  ## a virtual environment with everything the tests need
	python3 -m venv .venv
	.venv/bin/pip install --quiet -e '.[test]'

check:  ## style and types (needs the dev extra)
	$(PYTHON) -m ruff check plm tests benchmarks
	$(PYTHON) -m ruff format --check plm tests benchmarks
	$(PYTHON) -m mypy

test:  ## what runs everywhere, in a few minutes
	$(PYTHON) -m pytest $(PARALLEL)

slow:  ## what takes half a minute and more: CI runs it too
	$(PYTHON) -m pytest $(PARALLEL) -m "slow and not gpu and not vllm"

long:  ## many kills, many processes: about ten minutes
	$(PYTHON) -m pytest $(PARALLEL) -m "long and not gpu and not vllm"

gpu:  ## what needs a CUDA device; benchmarks/gpu/run.py measures on it
	$(PYTHON) -m pytest -m gpu

vllm:  ## the engine on the real vLLM, in two minutes (needs vLLM: README, "With vLLM")
	$(PYTHON) -m pytest -m vllm

critique:  ## with a real model of embeddings (needs the extra critique: README, "With a model of embeddings")
	$(PYTHON) -m pytest -m critique

bench:  ## every benchmark prints a table
	$(PYTHON) -m plm bench all
