# Everything a person or a build machine does with this tree. `make` alone lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help venv demo check test fuzz soak servers bench requirements build wheelhouse deb clean

# Servers live in /usr/sbin, which is not on everybody's path.
export PATH := $(PATH):/usr/sbin:/sbin

# Where compiled modules are not kept, each of a thousand processes compiles the whole tree anew.
export PYTHONDONTWRITEBYTECODE :=

# The system's own, which outlives any user's; PYTHON=python3.12 chooses another.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
APT_INSTALL := $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(INSTALLED) ## create .venv with everything for users and developers

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed and $(PYTHON) is $$($(PYTHON) --version 2>&1): say make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "Installing the Debian package python3-venv, which $(PYTHON) needs to create an environment"; \
	  $(SUDO) apt-get update -q; $(APT_INSTALL) python3-venv; }
	@echo "Installing ecmo-daq and its development tools into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: venv ## run a simulated bed with its page (DEMO_SECONDS=N to end it)
	$(BIN)/ecmo-daq demo $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS))

# The journals of the fast tests lie in memory where there is room: they sync thousands of groups, and what a disk makes
# of that is for make test. A worker more than cores, for those that wait; each begins with a part of the whole, so that
# what a module makes once is made once, and takes from the others when it is through.
ROOMY = [ "$$(df -Pm /dev/shm 2>/dev/null | awk 'NR == 2 { print $$4 }')" -ge 1024 ] 2>/dev/null
FAST := -n $(shell echo $$(($$(nproc) + 1))) --dist worksteal -o tmp_path_retention_policy=failed

# The types are checked beside the tests, on a core that they leave; what is found is told after them.
check: venv ## format, lint, types, import rule and fast tests; under a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	@mkdir -p build
	( $(BIN)/mypy && $(BIN)/lint-imports ) > build/types.txt 2>&1 & types=$$!; \
	temp=$$(mktemp -d $$($(ROOMY) && echo /dev/shm || echo "$${TMPDIR:-/tmp}")/ecmo-daq-check-XXXXXX); \
	failed=0; $(BIN)/python -m pytest -q $(FAST) --basetemp="$$temp/pytest" -m "not system and not slow" || failed=1; \
	rm -rf "$$temp"; wait $$types || failed=1; cat build/types.txt; exit $$failed

# Most of these wait for a clock or another process: so more at a time than there are cores, and the slow ones, which do
# not wait, fill the cores meanwhile. Those that measure the
# machine, or take every core of it, come after the others and one by one.
test: check servers ## check, then the tests with real servers, ttys and processes
	$(BIN)/python -m pytest -q -n 4 --dist loadgroup -m "(system or slow) and not alone"
	$(BIN)/python -m pytest -q -m "system and alone"

fuzz: venv ## say millions of damaged things to every driver, an hour or so (INPUTS=N each, SEED=N)
	ECMO_DAQ_FUZZ_INPUTS=$(or $(INPUTS),5000000) ECMO_DAQ_FUZZ_SEED=$(or $(SEED),$$RANDOM) \
	  $(BIN)/python -m pytest -q -s -m system tests/contracts/test_fuzz.py

soak: venv servers ## more kills and power cuts than make test, a whole bed, whole scenarios, 30 fast days; three hours (KILLS=N, CUTS=N, DAYS=N)
	ECMO_DAQ_BED_S=$(or $(BED_S),600) $(BIN)/python -m pytest -q tests/system/test_whole_bed.py
	ECMO_DAQ_KILLS=$(or $(KILLS),1000) ECMO_DAQ_CUTS=$(or $(CUTS),20000) \
	  $(BIN)/python -m pytest -q tests/acquisition/test_journal_kill.py tests/acquisition/test_power_cut.py
	ECMO_DAQ_SCENARIOS="$(or $(SCENARIOS),weaning levoecmo-five-days)" \
	  $(BIN)/python -m pytest -q tests/system/test_whole_scenario.py
	ECMO_DAQ_SOAK_DAYS=$(or $(DAYS),30) $(BIN)/python -m pytest -q tests/system/test_soak.py

# Command and the Debian package that has it. Tests start these on their own ports and in their own directories.
SERVERS := influxd=influxdb victoria-metrics=victoria-metrics mosquitto=mosquitto systemd-analyze=systemd \
  systemd-nspawn=systemd-container rsvg-convert=librsvg2-bin chromium=chromium
# A library and no command; the disk that forgets what was not synced is a file system of our own.
HAS_FUSE := ldconfig -p | grep -E 'libfuse3?\.so\.' >/dev/null

servers: ## install the Debian packages that the tests talk to, where missing
	@missing=(); \
	for each in $(SERVERS); do command -v "$${each%%=*}" >/dev/null || missing+=("$${each#*=}"); done; \
	$(HAS_FUSE) || missing+=(libfuse2); \
	if (( $${#missing[@]} )); then \
	  command -v apt-get >/dev/null \
	    || { echo "Missing, and there is no apt-get to install it: $${missing[*]}" >&2; exit 1; }; \
	  echo "Installing Debian packages for the tests: $${missing[*]}"; \
	  $(SUDO) apt-get update -q; $(APT_INSTALL) "$${missing[@]}"; \
	fi
	@for each in $(SERVERS); do command -v "$${each%%=*}" >/dev/null || { echo "$${each%%=*} is missing" >&2; exit 1; }; done
	@$(HAS_FUSE) || { echo "libfuse is missing" >&2; exit 1; }

PEERS := build/peers/.installed-3.8.5

READERS := build/readers/.installed-2.6.0-1.7.2

bench: venv $(PEERS) $(READERS) ## measure speed and footprint beside peers, six minutes (FULL=1 with 10^9 samples: 2 GB)
	@$(MAKE) --no-print-directory servers || echo "The rows of these will say that they were not measured" >&2
	FULL=$(FULL) $(BIN)/python -m benchmarks

# In an environment of its own, so that it shares no library with us. What cannot be installed is a row that says so.
$(PEERS):
	@echo "Installing thingsboard-gateway, which is measured beside us, into $(@D)"
	@$(PYTHON) -m venv $(@D)
	@if $(@D)/bin/python -m pip install --quiet thingsboard-gateway==3.8.5; then touch $@; \
	else echo "It cannot be installed: its rows will say that it was not measured" >&2; fi

$(READERS):
	@echo "Installing atriumdb and vitaldb, whose reading is measured beside ours, into $(@D)"
	@$(PYTHON) -m venv $(@D)
	@if $(@D)/bin/python -m pip install --quiet atriumdb==2.6.0 vitaldb==1.7.2; then touch $@; \
	else echo "They cannot be installed: their rows will say that they were not measured" >&2; fi

# Pins and hashes only: where packages come from is the installing machine's business.
requirements: venv ## pin and hash what a deployment installs
	$(BIN)/pip-compile --quiet --upgrade --generate-hashes --strip-extras --no-header --no-annotate --allow-unsafe \
	  --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options \
	  --output-file requirements.txt pyproject.toml
	@! grep -nE '://|^-|file:' requirements.txt || { echo "requirements.txt names a host or a path" >&2; exit 1; }

build: venv ## build the wheel into dist/
	$(BIN)/python -m build --wheel

wheelhouse: venv ## gather all wheels of a deployment in dist/wheelhouse
	deploy/wheelhouse dist/wheelhouse

deb: wheelhouse ## make the Debian package in dist/; it needs no network where it is installed
	deploy/build-deb dist/wheelhouse dist

clean: ## remove what was built, not the environment
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find acquisition drivers simulators benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +
