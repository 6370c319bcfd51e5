# `make check` is the test command: what is cheap and fails first, runs first.
PYTHON ?= python

.PHONY: check lint imports types test faults format

check: lint imports types test

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

imports:
	$(PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

types:
	$(PYTHON) -m mypy

test:
	$(PYTHON) -m pytest -q

# A night of faults: `make faults RUNS=5000 SEED=7`; what was found is in OUT.
RUNS ?= 1000
SEED ?= 1
OUT ?= build/faults-$(SEED)

faults:
	$(PYTHON) tests/faults/campaign.py --runs $(RUNS) --seed $(SEED) --out $(OUT)

format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
