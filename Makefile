# The three commands that a newcomer needs: make demo, make test, make check.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
N ?= 100
LOWEST := .venv-lowest
TRIED_WITH_THE_LOWEST := tests/encoding tests/results tests/inference/test_pixels.py tests/ledger/test_migrations.py \
  tests/end_to_end/test_a_film.py tests/web/test_web_pages.py

.PHONY: help demo test check lowest kills bench format docs clean
help:
	@echo "make demo [ARGS=\"--once --json\"]  install, start a node, a small PACS and a modality; show what happens"
	@echo "make test [ARGS=\"tests/web\"]       set up and run every test, or some (REQUIRE_PEERS=1: a missing peer is a failure;"
	@echo "                                  with torch, MONAI and OpenVINO, and again with the lowest versions of the dependencies)"
	@echo "make check                        ruff, mypy, import contracts, generated docs"
	@echo "make lowest                       try the lowest versions of the dependencies that pyproject.toml allows"
	@echo "make kills N=100                  kill -9 at random, N times; prints what was lost and doubled"
	@echo "make bench                        the README's figures beside peers and limits; ARGS=--write keeps them"
	@echo "make docs                         write the generated docs anew"

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit("imaging needs Python 3.11 or newer; say make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV) || { echo "python3-venv is missing: apt install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.base: $(VENV)/.python pyproject.toml
	@echo "installing imaging into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . >&2
	@$(BIN)/python -m compileall -q imaging
	@touch $@

$(VENV)/.test: $(VENV)/.base
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]' >&2
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,dev]' >&2
	@touch $@

# torch by itself first: the machine's own build of it, where there is one, is for the CPU and a tenth as large.
$(VENV)/.oracle: $(VENV)/.test
	@echo "installing torch, MONAI and OpenVINO into $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'torch==2.13.0' >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,monai,openvino,oracle]' >&2
	@touch $@

demo: $(VENV)/.base
	@$(BIN)/python -m benchmarks.demo $(ARGS)

test: $(VENV)/.test $(if $(filter 1,$(REQUIRE_PEERS)),$(VENV)/.oracle)
	@scripts/peers
ifeq ($(strip $(ARGS)),)
	@failed=0; \
	$(BIN)/python -m pytest -m "not alone" -n 2 --dist loadfile --no-loadscope-reorder || failed=1; \
	$(BIN)/python -m pytest -m alone $$(grep -rl --include='*.py' 'mark\.alone' tests) || failed=1; \
	[ "$(REQUIRE_PEERS)" != 1 ] || $(MAKE) --no-print-directory lowest || failed=1; \
	exit $$failed
else
	$(BIN)/python -m pytest $(ARGS)
endif

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m scripts.docs --check

lowest: $(LOWEST)/.test
	@scripts/peers
	$(LOWEST)/bin/python -m pytest $(TRIED_WITH_THE_LOWEST)

$(LOWEST)/.test: pyproject.toml scripts/lowest.py $(VENV)/.test
	@$(PYTHON) -m venv $(LOWEST)
	@$(BIN)/python -m scripts.lowest >$(LOWEST)/constraints.txt
	@$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(LOWEST)/constraints.txt --editable '.[test]' >&2
	@touch $@

kills: $(VENV)/.test
	PYTHONPATH=tests $(BIN)/python -m end_to_end.kills $(N)

bench: $(VENV)/.test
	@scripts/peers
	@$(BIN)/python -m benchmarks.everything $(ARGS)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.base
	$(BIN)/python -m scripts.docs

clean:
	rm -rf $(VENV) $(LOWEST) build dist *.egg-info
