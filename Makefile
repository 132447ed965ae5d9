# make app    the app, ready to use, on this machine only
# make test   everything that CI checks
# make docs   the documentation site, in build/docs
# Both make the environment first; it is made once and again only when its description changes.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT ?= 5006
WORKERS ?= 2
MINUTES ?= 5
SEED ?= 0
BIN := .venv/bin
STAMP := .venv/.made

.PHONY: env app test check docs notebooks pytest test-slow wheel-test benchmarks fuzz pins clean

env: $(STAMP)

# torch comes first and by its exact pin: a range would fetch another, much larger build.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt setuptools torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable ".[app,train,dev,docs]"
	@touch $@

app: env
	$(BIN)/xxact app --port $(PORT)

# Checks and site take a core each, the tests two.
test: env
	$(MAKE) --jobs 2 --output-sync check docs
	$(MAKE) pytest

check: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Warnings are errors, among them pages in no table of contents and anything loaded from another site.
docs: env
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --fresh-env -b html docs build/docs

# Executes the notebooks and keeps small outputs, which the site shows.
notebooks: env
	OMP_NUM_THREADS=1 $(BIN)/python docs/execute_notebooks.py

# The tests of a file run in one process, since they share what is slow to set up. Browser tests run last, since beside
# other tests they time out. Exit code 5 means that pytest selected no test.
pytest: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not browser and not long" --numprocesses $(WORKERS) --dist loadfile $(PYTEST_ARGS) \
	  || test $$? -eq 5
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser --numprocesses $(WORKERS) --dist loadfile $(PYTEST_ARGS) \
	  || test $$? -eq 5

# Tests that take minutes: the app under load, trainings killed and in several processes, further notebooks, and that
# each guard against harmful files is needed by a test.
test-slow: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m long $(PYTEST_ARGS)

# The wheel, installed without the checkout; `make pytest` runs this, too.
wheel-test: env
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/project/test_wheel.py

# Every benchmark, briefly; without --quick a benchmark writes its page below docs/results.
benchmarks: env
	@set -e; for script in $$(grep -l __main__ benchmarks/speed/*.py benchmarks/quality/*.py benchmarks/studies/*.py); do \
	  echo "== $$script"; OMP_NUM_THREADS=1 $(BIN)/python $$script --quick; \
	done

# Reads damaged files of every format for some minutes; what it finds is kept in build/fuzzing.
fuzz: env
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/quality/fuzzing.py --minutes $(MINUTES) --seed $(SEED) \
	  --state build/fuzzing/$(SEED) --no-page

# Writes the installed versions into constraints.txt and environment.yml.
pins: env
	{ sed '/^[^#]/d' constraints.txt; \
	  $(BIN)/python -m pip freeze --all --exclude xxact --exclude pip | sed 's/+cpu$$//'; } > .pins.part
	mv .pins.part constraints.txt
	{ sed '/^  - pip:$$/q' environment.yml; sed -n 's/^[^#].*/      - &/p' constraints.txt; \
	  echo "      - --editable ."; } > .pins.part
	mv .pins.part environment.yml

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
