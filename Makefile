# Every target is self-contained: it creates .venv and installs what it needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

PYTHON ?= python3
VENV := .venv
WORKERS := 3
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PYTHONDONTWRITEBYTECODE := 1
# The engine and the clients, as the drill and the bench import them.
export PYTHONPATH := $(CURDIR)/module_utils:$(CURDIR)/clients

.PHONY: help venv lock drill watch faults options permissions traps report report-png test lint unit lab lab-down lab-status
.PHONY: load load-down soak mutants aws-smoke clean
.PHONY: bench bench-gap bench-curve bench-engine bench-client bench-costs bench-overhead bench-page bench-fleet bench-herd

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

venv: $(STAMP) ## make .venv and fill it with the locked requirements

$(STAMP): requirements-dev.txt
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(INSTALL_VENV)
	@echo "venv: installing the locked requirements into $(VENV) (about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install $(PIP_OPTIONS) --requirement requirements-dev.txt
	@touch $@

PIP_OPTIONS := --quiet --quiet --disable-pip-version-check --require-hashes --only-binary :all:

# Debian's Python comes without the module that creates virtual environments.
define INSTALL_VENV
{ \
	echo "venv: installing the package python3-venv"; \
	apt-get -qq update && apt-get -qq install --yes --no-install-recommends python3-venv >/dev/null; \
} || { \
	echo "venv: $(PYTHON) cannot make a virtual environment: install the package python3-venv and run make again" >&2; \
	exit 1; \
}
endef

# Controllers and tests: Python 3.11 and newer. Devices: 3.9 and newer. Locked releases stay, unless UPGRADE=yes or an input
# file says otherwise; requirements.txt comes before requirements-dev.txt, which uses the same releases.
CONTROLLER_LOCKS := requirements-lock requirements requirements-dev
DEVICE_LOCKS := clients/requirements-awsiotsdk clients/requirements-paho
# With all of their requirements that are used, because others have no wheel.
BARE_LOCKS := requirements-mutants
# No lock contains the address of an index: each user has their own.
UV_OPTIONS := --no-config --quiet --universal --generate-hashes --only-binary :all: --emit-build-options
UV_OPTIONS += --no-emit-index-url --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

lock: ## lock what requirements*.in name, with hashes; UPGRADE=yes takes the newest releases that they allow
	@tool=$$(mktemp -d); trap 'rm -rf "$$tool"' EXIT; $(PYTHON) -m venv "$$tool"; \
	"$$tool/bin/python" -m pip install $(PIP_OPTIONS) --requirement requirements-lock.txt; \
	for lock in $(CONTROLLER_LOCKS); do \
		"$$tool/bin/uv" pip compile $(UV_OPTIONS) --python-version 3.11 --output-file $$lock.txt $$lock.in; \
	done; \
	for lock in $(DEVICE_LOCKS); do \
		"$$tool/bin/uv" pip compile $(UV_OPTIONS) --python-version 3.9 --output-file $$lock.txt $$lock.in; \
	done; \
	for lock in $(BARE_LOCKS); do \
		"$$tool/bin/uv" pip compile $(UV_OPTIONS) --no-deps --python-version 3.11 --output-file $$lock.txt $$lock.in; \
	done

drill: $(STAMP) ## the whole move, rehearsed; FAULT=<name> moves under a fault, FAULT=list shows them
	@python -m lab.drill $(if $(FAULT),--fault '$(FAULT)')

watch: $(STAMP) ## a live view of the lab's fleet: run it during make drill
	@python -m lab.watch

options: $(STAMP) ## write the arguments of the roles that pass on the options of a module
	@WRITE_OPTIONS=yes python -m pytest -q tests/unit/test_role_options.py

permissions: $(STAMP) ## write docs/iam.md: the message for each missing IAM action
	@WRITE_PERMISSIONS=yes python -m pytest tests/modules/test_permissions.py -k missing

faults: $(STAMP) ## rehearse every fault of the menu and write docs/faults.md
	@WRITE_FAULTS=yes python -m pytest tests/lab/test_faults.py tests/soak/test_faults.py

traps: $(STAMP) ## write docs/traps.md from lab/traps.toml
	@python -m lab.traps_table

report: $(STAMP) ## rewrite the page of a run: RUN=reports/<run>, or the newest
	@python -m region_switch.report $(or $(RUN),reports/latest)

report-png: $(STAMP) ## docs/images/report.png, of the run RUN, or of the newest
	@python -m lab install
	@python -m lab.report_picture $(or $(RUN),reports/latest)

# The lab's tests mostly wait: each half of them has a lab of its own, and the tests that need no lab run at the same time,
# with the rest of the machine.
LAB_TESTS = python -m pytest tests/lab --splits 2 --durations-path tests/lab/durations.json
OTHER_TESTS = python -m pytest --numprocesses $(WORKERS) tests/unit tests/modules

test: $(STAMP) ## lint and every test: unit, modules, lab (root); 20 minutes at most
	@$(MAKE) --no-print-directory lint
	@[ "$$(id -u)" != 0 ] || python -m lab install
	@python -m tests.contract --clear
	@code=0; python -m tests.side_by_side "$(LAB_TESTS) --group 1" "python -m lab.world $(LAB_TESTS) --group 2" \
		"nice -n 10 $(OTHER_TESTS)" || code=$$?; python -m tests.contract || code=1; exit $$code

lint: $(STAMP) ## ruff, mypy, yamllint, ansible-lint (production)
	@ruff check .
	@ruff format --check .
	@mypy module_utils/region_switch module_utils/mqtt_device library clients/mqtt_fleet clients/mqtt_monitor lab plugins
	@yamllint --strict .
	@ansible-lint -q

unit: $(STAMP) ## the tests that need neither root nor network
	@python -m pytest --numprocesses $(WORKERS) tests/unit

lab: $(STAMP) ## bring the lab up (root; idempotent)
	@python -m lab up

lab-down: $(STAMP) ## take the lab down and leave nothing behind
	@python -m lab down

lab-status: $(STAMP) ## what runs in the lab, and where
	@python -m lab status

load: $(STAMP) ## connect CLIENTS=1000 light clients to the lab, which is up and set up
	@python -m lab load start --clients $(or $(CLIENTS),1000)

load-down: $(STAMP) ## disconnect them and take them from the account
	@python -m lab load stop

bench: $(STAMP) ## ours compared with the article's method, in the lab (root); CLIENTS="2 100 1000", ROUNDS=1
	@python -m tests.bench.compare --rounds $(or $(ROUNDS),1) $(if $(CLIENTS),--clients $(CLIENTS))

bench-gap: $(STAMP) ## measure the gap of each library over MOVES=20 moves
	@python -m tests.bench.gap --moves $(or $(MOVES),20)

bench-curve: $(STAMP) ## time and memory from 10 to 1,000,000 clients: in the lab (root), then simulated; half an hour
	@python -m tests.bench.curve --real
	@python -m tests.bench.curve

bench-engine: $(STAMP) ## CPU per request of a sweep, compared with signing and HTTP alone
	@python -m tests.bench.engine

bench-client: $(STAMP) ## what the client stores and sends per second, compared with SQLite alone
	@python -m tests.bench.client

bench-costs: $(STAMP) ## what the client costs a day: flash, log, AWS's bill (root; three minutes)
	@python -m tests.bench.costs

bench-overhead: $(STAMP) ## the playbooks with nothing to do, in the lab (root), compared with an empty one
	@python -m tests.bench.overhead

bench-herd: $(STAMP) ## how 100,000 simulated clients connect again after their region was gone: a few minutes
	@python -m tests.bench.herd

bench-page: $(STAMP) ## rewrite the benchmarks' tables and plots from docs/benchmarks.json
	@python -m tests.bench.page

bench-fleet: $(STAMP) ## CPU and memory of a move of CLIENTS=1000000 simulated clients, killed and resumed
	@python -m tests.bench.fleet_size --kill --clients $(or $(CLIENTS),1000000)

soak: $(STAMP) ## the long proofs: fifty moves, devices under faults, a million clients, generated histories
	@python -m pytest tests/soak

aws-smoke: $(STAMP) ## what only an AWS account can show; without credentials it says what it would do: OPTIONS="--help"
	@python -m tests.aws_smoke $(OPTIONS)

$(VENV)/.mutants: $(STAMP) requirements-mutants.txt
	@$(VENV)/bin/python -m pip install $(PIP_OPTIONS) --no-deps --requirement requirements-mutants.txt
	@touch $@

mutants: $(VENV)/.mutants ## do the unit tests detect faults in decisions? Half an hour; MODULE="token_bucket waves" for some
	@python -m tests.mutants $(MODULE)

clean: lab-down ## also remove .venv, caches and the lab's certificates; reports and production's certificates stay
	rm -rf .venv .cache certs/clients
	find certs -maxdepth 1 -type f ! -name README.md -delete
