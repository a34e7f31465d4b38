# On a fresh machine: make demo, make test. They make .venv on their first run.

VENV := .venv
RUNTIME := $(VENV)/.requirements
DEV := $(VENV)/.requirements-dev
PIP := $(VENV)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes

# the first Python 3.11 there is; another one: make demo PYTHON=/path/to/python3.11
IS_311 := import sys; sys.exit(sys.version_info[:2] != (3, 11))
PYTHON ?= $(shell for p in python3.11 python3; do \
	$$p -c "$(IS_311)" 2>/dev/null && command -v $$p && break; done)

# the rules call `python`, which must be that of .venv; private: not yet while .venv is made
demo test research lint: private export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help demo test research lint clean

help: # (the default) say what there is
	@sed -n 's/^\([a-z]*\):[^#]*# /make \1\t/p' Makefile

demo: $(RUNTIME) # run the whole chain on simulated fields, into results/
	@snakemake --cores all
	@echo "The report is results/report/index.html"

test: $(DEV) # run the tests
	@pytest -n 2 --dist loadfile

research: $(DEV) # run the slow measurements that `make test` leaves out
	@pytest -m research

lint: $(DEV) # check code, formatting and rules
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	snakemake --lint

clean: # remove .venv and caches, never results
	rm -rf .venv .hypothesis .pytest_cache .ruff_cache
	find scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +

# each stamp is written last, so that an interrupted installation is done again
$(RUNTIME): requirements.txt
	@test -n "$(PYTHON)" || { echo "cellsieve needs Python 3.11" \
		"(Debian 12: apt install python3.11 python3.11-venv)" >&2; exit 1; }
	@$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || { echo "$(PYTHON) cannot make a" \
		"virtual environment (Debian 12: apt install python3.11-venv)" >&2; exit 1; }
	@echo "Making .venv from requirements.txt: once, some minutes"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) -r requirements.txt
	@touch $@

$(DEV): requirements-dev.txt $(RUNTIME)
	@echo "Adding requirements-dev.txt to .venv"
	@$(PIP) -r requirements-dev.txt
	@touch $@
