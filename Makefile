# Everything runs in .venv, which .ci/setup makes from uv.lock.
.PHONY: help setup demo test test-whole test-dbt test-destinations test-jobs test-browser test-lakes test-spark screenshots coverage check bench prove soak fuzz format clean

# the interpreter, e.g. `make PYTHON=python3.13 test`; empty: .venv's, or the first one that is found
PYTHON ?=
export PYTHON
# .venv keeps bytecode, whatever the environment says: without it, each command compiles dlt anew for two seconds
export PYTHONDONTWRITEBYTECODE :=
UV = "$$(uv --version >/dev/null 2>&1 && command -v uv || echo .uv/bin/uv)"
RUN := .venv/bin
# $(call debian,COMMAND,PACKAGE): install a package of Debian where its command is missing
debian = @command -v $(1) >/dev/null || apt-get install --yes --quiet --no-install-recommends $(2) || \
	{ apt-get update --quiet && apt-get install --yes --quiet --no-install-recommends $(2); }

help: ## list these targets
	@echo "make TARGET, or make PYTHON=python3.13 TARGET with another Python (3.11 to 3.14)"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1@\2/p' Makefile | while IFS=@ read -r name text; do \
		printf '  %-17s %s\n' $$name "$$text"; done

setup: ## make .venv, with the command at .venv/bin/docruns
	@sh .ci/setup

demo: setup ## load invented runs into docruns.duckdb and answer three questions
	@$(RUN)/docruns demo

# the tests of what runs as a whole: the command, the models, the destinations, kills, full disks, PostgreSQL
WHOLE := tests/commands tests/models tests/store tests/whole

test: setup ## run the tests of the parts
	$(RUN)/python -m pytest -n 3 --dist worksteal $(WHOLE:%=--ignore=%)

test-whole: setup ## run the tests of the command, of models, destinations and whole loads
	$(RUN)/python -m pytest -n 3 --dist worksteal $(WHOLE)

test-dbt: setup ## build the dbt project of the models on DuckDB and PostgreSQL; dbt gets .venv-dbt
	$(UV) venv --quiet --allow-existing --python $(RUN)/python .venv-dbt
	$(UV) pip install --quiet --python .venv-dbt/bin/python -r tests/dbt_build/requirements.txt
	DBT=.venv-dbt/bin/dbt PYTHONPATH=tests $(RUN)/python -m dbt_build

.PHONY: .venv-destinations
.venv-destinations: setup # not a file to make, because uv renews what is in it
	$(UV) venv --quiet --allow-existing --python $(RUN)/python $@
	$(UV) pip install --quiet --python $@/bin/python -r tests/destinations/requirements.txt

test-destinations: .venv-destinations ## compare PostgreSQL, SQLite, MariaDB and DuckLake with DuckDB, in .venv-destinations
	$(call debian,mariadbd,mariadb-server)
	DESTINATIONS="duckdb postgres sqlite mariadb ducklake-duckdb ducklake-sqlite ducklake-postgres" PYTHONPATH=tests \
		.venv-destinations/bin/python -m pytest -n 2 tests/destinations/matrix.py tests/destinations/ducklake.py

test-jobs: setup ## run the jobs of pipelines/ as cron, systemd, GitHub, Dagster and Airflow do; these get .venv-jobs
	PYTHONPATH=tests $(RUN)/python -m jobs
	@for name in dagster airflow; do \
		rm -rf .venv-jobs && $(UV) venv --quiet --python $(RUN)/python .venv-jobs && \
		$(UV) pip install --quiet --python .venv-jobs/bin/python -e . -r tests/jobs/$$name.txt && \
		JOBS=.venv-jobs PYTHONPATH=tests $(RUN)/python -m jobs $$name || exit 1; \
	done
	@rm -rf .venv-jobs

test-browser: setup ## open the notebooks in Chromium, on a phone's screen and on a wide one
	@command -v chromium >/dev/null || apt-get install --yes --quiet chromium
	$(UV) sync --frozen --quiet --group browser
	$(RUN)/python -m pytest tests/browser/pages.py

test-lakes: .venv-destinations ## compare Delta and Iceberg tables, in a folder and in S3, with DuckDB, in .venv-destinations
	DESTINATIONS="delta iceberg delta-s3 iceberg-s3" PYTHONPATH=tests \
		.venv-destinations/bin/python -m pytest -n 2 --dist worksteal tests/destinations/matrix.py tests/lakes/*.py

test-spark: setup ## replay an archive on Spark and compare each cell with DuckDB; PySpark gets .venv-spark
	$(call debian,java,openjdk-17-jre-headless)
	$(UV) venv --quiet --allow-existing --python $(RUN)/python .venv-spark
	$(UV) pip install --quiet --python .venv-spark/bin/python -r tests/spark/requirements.txt
	$(UV) pip install --quiet --python .venv-spark/bin/python --no-deps -e .
	SPARK=.venv-spark $(RUN)/python -m pytest tests/spark/replay.py

screenshots: export SCREENSHOTS = screenshots
screenshots: test-browser ## store a picture of each page of the notebooks in screenshots/

coverage: setup ## run every test and report which lines they run; takes half as long again
	$(RUN)/coverage erase
	$(RUN)/coverage run -m pytest -n 3 --dist worksteal
	$(RUN)/coverage combine --quiet
	$(RUN)/coverage report --fail-under=95

check: setup ## check formatting, lint and types
	$(RUN)/ruff format --check
	$(RUN)/ruff check
	$(RUN)/mypy

bench: setup ## compare with what people would use instead; takes half an hour
	UV=$(UV) $(RUN)/python tests/benchmarks/bench.py

prove: .venv-destinations ## measure what the README promises; takes an hour
	PYTHONPATH=tests $(RUN)/python -m proofs
	PYTHONPATH=tests .venv-destinations/bin/python -m proofs warehouses replay

soak: setup ## inject all faults at random for ten minutes, then compare the database with the platform
	PYTHONPATH=tests $(RUN)/python -m soak

fuzz: setup ## search for answers that break a reader, guided by coverage; takes ten minutes
	$(UV) sync --frozen --quiet --group fuzz
	PYTHONPATH=tests $(RUN)/python -m fuzz --seconds 600

format: setup ## format the code and fix what lint can fix
	$(RUN)/ruff format
	$(RUN)/ruff check --fix

clean: ## remove .venv, .uv and caches; databases stay
	rm -rf .venv .venv-dbt .venv-destinations .venv-jobs .venv-spark .uv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* screenshots tests/benchmarks/.cache
