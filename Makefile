# Everything here can be repeated: what is done already is skipped.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The first Python that is new enough; `make PYTHON=… install` names another.
PYTHON ?= $(shell scripts/find-python)
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	--python-version 3.11 --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)

# Test files that run at once: most of the time they wait for processes. What fails beside others, whose load it may not bear, is run
# again alone, and has to pass there.
AT_ONCE ?= 3

.DEFAULT_GOAL := help
.PHONY: help install run test check fmt bench bench-peers bench-soak faults lock

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## set up .venv with everything pinned; .venv/bin/dolgo works

$(STAMP): requirements/dev.lock pyproject.toml dolgo/version.py
	@test -n "$(PYTHON)" || { echo "make: dolgo needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3 install" >&2; exit 1; }
	@scripts/need-system venv "$(PYTHON)"
	@test -x $(BIN)/python && $(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: install ## serve on http://127.0.0.1:8080 with the example task types
	$(BIN)/dolgo serve --tasks examples/tasks

test: install ## run all tests, e.g. make test ARGS="-k settings -x"
	@scripts/need-system strace
	@scripts/need-system redis-server
	@scripts/need-system postgres
	@scripts/need-system pgbouncer
	@scripts/need-system promtool
	@scripts/need-system systemd-analyze
	@scripts/need-system rabbitmq-server
	@scripts/need-system go
	@$(BIN)/python -m tests.nsq_server
	$(BIN)/python -m pytest --numprocesses $(AT_ONCE) --dist loadfile $(ARGS) \
		|| $(BIN)/python -m pytest --last-failed --last-failed-no-failures none $(ARGS)

check: install ## lint, format and strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fmt: install ## format, and fix what can be fixed
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: install ## measure against floors in one run, print ratios
	@scripts/need-system wrk
	$(BIN)/python -m bench $(ARGS)

bench-peers: install ## measure dolgo beside other task queues on Redis, or with ARGS="--on postgres" there
	@scripts/need-system wrk
	@scripts/need-system $(if $(findstring postgres,$(ARGS)),postgres,redis-server)
	@$(if $(findstring postgres,$(ARGS)),scripts/need-system rabbitmq-server)
	@$(if $(findstring postgres,$(ARGS)),$(BIN)/python -m tests.nsq_server)
	$(BIN)/python -m bench.peers $(ARGS)

bench-soak: install ## run dolgo on PostgreSQL for a quarter of an hour, watch its tables
	@scripts/need-system postgres
	$(BIN)/python -m bench.soak $(ARGS)

faults: install ## kill, freeze and break for an hour, e.g. make faults ARGS="--store sqlite --cycles 50 --tasks 2000"
	@scripts/need-system redis-server
	@scripts/need-system postgres
	$(BIN)/python -m tests.faults $(ARGS)

lock: $(STAMP) ## pin anew what pyproject.toml asks for; UPGRADE=1 takes newer versions
	$(LOCK) pyproject.toml --all-extras --output-file requirements/run.lock
	$(LOCK) pyproject.toml --group dev --constraint requirements/run.lock --output-file requirements/dev.lock
	echo hatchling | $(LOCK) - --constraint requirements/dev.lock --output-file requirements/build.lock
