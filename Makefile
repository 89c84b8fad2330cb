# Everything runs in .venv, made from uv.lock by a uv that lives in .uv unless there is one on the PATH.
.PHONY: setup demo test coverage check bench prove soak fuzz format clean

PYTHON ?= python3.11
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
RUN := .venv/bin

setup: .venv/.ready ## make .venv, with the command at .venv/bin/docruns

.uv/bin/uv:
	@command -v $(PYTHON) >/dev/null || { echo "docruns needs Python 3.11 or newer: make PYTHON=python3.12 …"; exit 1; }
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.9

.venv/.ready: pyproject.toml uv.lock $(if $(filter .uv/bin/uv,$(UV)),.uv/bin/uv)
	$(UV) sync --frozen --quiet --python $(PYTHON)
	@touch $@

demo: setup ## load invented runs into docruns.duckdb and answer three questions
	$(RUN)/docruns demo

test: setup ## every test
	$(RUN)/python -m pytest -n 2 --dist worksteal

coverage: setup ## every test, and which lines they run: half as long again
	$(RUN)/coverage erase
	$(RUN)/coverage run -m pytest -n 2 --dist worksteal
	$(RUN)/coverage combine --quiet
	$(RUN)/coverage report --fail-under=95

check: setup ## formatting, lint and types
	$(RUN)/ruff format --check
	$(RUN)/ruff check
	$(RUN)/mypy

bench: setup ## side by side with what people would use instead, half an hour
	UV="$(UV)" $(RUN)/python tests/benchmarks/bench.py

prove: setup ## what the README promises, measured at length: half an hour
	PYTHONPATH=tests $(RUN)/python -m proofs

soak: setup ## all faults at random for ten minutes, then everything must be true
	PYTHONPATH=tests $(RUN)/python -m soak

fuzz: setup ## search for answers that break a reader, led by coverage, ten minutes
	$(UV) sync --frozen --quiet --group fuzz
	PYTHONPATH=tests $(RUN)/python -m fuzz --seconds 600

format: setup ## write what check wants
	$(RUN)/ruff format
	$(RUN)/ruff check --fix

clean: ## forget .venv, .uv and caches; databases stay
	rm -rf .venv .uv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* tests/benchmarks/.cache
