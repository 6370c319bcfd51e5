# `make check` is the test command: what is cheap and fails first, runs first.
PYTHON ?= python
# How many processes run tests: as many as there are processors.
WORKERS ?= auto

# Several workers with as many threads each as there are processors would wait for each other.
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1
export MKL_NUM_THREADS = 1

.PHONY: check lint imports types test format lock

check: lint imports types test

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

imports:
	$(PYTHON) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

types:
	$(PYTHON) -m mypy

# worksteal keeps neighbouring tests, which share fixtures, in one worker until another has nothing left to do.
test:
	$(PYTHON) -m pytest -q -n $(WORKERS) --dist worksteal

format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
