# make demo     shows gdl at work, against servers it starts itself
# make test     lint, format, types, tests
# make bench    measures gdl and its peers
# make torture  servers that lie and kills at any moment, for MINUTES=5 or as many as you give
# make clean    removes what these made
#
# All of it runs in .venv, which is made on first use and follows pyproject.toml.
# PYTHON=python3.13 chooses the Python that .venv is made with.

PYTHON ?= python3
MINUTES ?= 5
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --quiet --disable-pip-version-check

export PIP_NO_INPUT := 1
# Settings of the caller's shell that would change which modules are found.
unexport PYTHONHOME
unexport PYTHONPATH

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test bench torture clean

help:
	@sed -n 's/^# make/make/p' Makefile

demo: $(VENV)/runtime.stamp
	@$(PY) -m downloader.demo

test: $(VENV)/test.stamp
	@echo 'ruff check' && $(PY) -m ruff check --quiet .
	@echo 'ruff format --check' && $(PY) -m ruff format --quiet --check .
	@echo 'mypy' && $(PY) -m mypy --no-error-summary
	@echo 'pytest' && $(PY) -m pytest --quiet

bench: $(VENV)/runtime.stamp
	@$(PY) -m benchmarks

torture: $(VENV)/test.stamp
	@$(PY) -m tests.torture --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

clean:
	@rm -rf $(VENV) build dist demo-output *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find downloader tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The extra brings what the tests need and everything gdl itself needs.
$(VENV)/test.stamp: pyproject.toml $(VENV)/made.stamp
	@echo 'installing gdl and its test tools into $(VENV)'
	@$(PIP) install --editable '.[test]'
	@touch $(VENV)/runtime.stamp $@

$(VENV)/runtime.stamp: pyproject.toml $(VENV)/made.stamp
	@echo 'installing gdl into $(VENV)'
	@$(PIP) install --editable .
	@touch $@

$(VENV)/made.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo 'gdl needs Python 3.11 or later; `$(PYTHON) --version` says:' "$$($(PYTHON) --version 2>&1)" >&2; \
	    echo 'Choose another with `make PYTHON=python3.12 $(MAKECMDGOALS)`.' >&2; exit 1; }
	@echo 'making $(VENV) with' "$$($(PYTHON) --version)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) || { \
	    rm -rf $(VENV); \
	    echo 'This Python cannot make virtual environments; on Debian and Ubuntu: apt-get install python3-venv' >&2; \
	    exit 1; }
	@touch $@
