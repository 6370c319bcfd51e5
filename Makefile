# `make check` is the test command: what is cheap and fails first, runs first.
PYTHON ?= python
# How many processes run tests: as many as there are processors.
WORKERS ?= auto

# Several workers with as many threads each as there are processors would wait for each other.
export OMP_NUM_THREADS = 1
export OPENBLAS_NUM_THREADS = 1
export MKL_NUM_THREADS = 1
# Tests start a hundred processes and more: without bytecode on disk each of them compiles the sources again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: check lint imports types test faults format lock

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

# A night of faults: `make faults RUNS=5000 SEED=7`; what was found is in OUT.
RUNS ?= 1000
SEED ?= 1
OUT ?= build/faults-$(SEED)

faults:
	$(PYTHON) tests/faults/campaign.py --runs $(RUNS) --seed $(SEED) --out $(OUT)

format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

# Versions with which everything passed, for all platforms and Pythons; needs uv. Those in the files stay as far as they can;
# `make lock LOCK=--upgrade` takes the newest.
LOCK ?=
COMPILE = uv pip compile -q pyproject.toml --universal --python-version 3.11 --custom-compile-command "make lock" $(LOCK)
lock:
	$(COMPILE) --generate-hashes --extra cpu -o requirements/cpu.txt
	$(COMPILE) --generate-hashes --extra gpu -o requirements/gpu.txt
	$(COMPILE) --generate-hashes --extra cpu --extra rtx -o requirements/rtx.txt
	$(COMPILE) --extra cpu --extra train --extra watch --extra plot --extra dev -o requirements/dev.txt
