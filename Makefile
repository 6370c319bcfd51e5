# `make check` is the test command: what is cheap and fails first, runs first.
PYTHON ?= python

.PHONY: check lint imports types test format

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

format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
