# `make demo` and `make test` do all the set-up on a fresh Debian machine with python3, python3-venv and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
TOOLS := /opt/ecg-node-tools

.DEFAULT_GOAL := help
.PHONY: help demo run test test-tools lint types lock bench faults clean fuzz soak sbom cve

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(STAMP)-node ## Run the whole node on real ECGs with a throw-away PACS; Ctrl-C ends it (DEMO_EXIT=1: by itself)
	@$(BIN)/python -m cli demo $(if $(DEMO_EXIT),--exit)

run: $(STAMP)-node ## Run the node on this machine with your settings (docs/settings.md)
	@$(BIN)/ecg-node run

test: $(STAMP)-dev ## Run the tests; writes only .venv and temporary folders
	@$(BIN)/python -m pytest -m "not faults" -n $(or $(JOBS),2) --dist loadfile

faults: $(STAMP)-dev ## Run everything: kills, floods, lies, the whole matrices; figures into docs/risks.md (needs root and test-tools)
	@TALLY_FILE=docs/risks-last-run.json $(BIN)/python -m pytest --timeout=3600; \
	  ended=$$?; $(BIN)/python docs/make_risks.py; exit $$ended

fuzz: $(STAMP)-dev ## Send mutated exchanges to a listener: CASES=200000 MINUTES=600 SEED=1
	@$(BIN)/python -m tests.faults.fuzz --cases $(or $(CASES),200000) --minutes $(or $(MINUTES),600) --seed $(or $(SEED),1)

soak: $(STAMP)-dev ## Mixed senders and seeded faults: MINUTES=120 SEED=1
	@$(BIN)/python -m tests.faults.soak --minutes $(or $(MINUTES),120) --seed $(or $(SEED),1)

sbom: $(STAMP)-dev ## Write the software bill of materials (CycloneDX) of each locked set into build/
	@$(BIN)/python -m tests.supply_chain sbom build

cve: $(STAMP)-dev ## Look for known vulnerabilities in what is locked (needs an advisory service: CVE_SERVICE=pypi)
	@CVE_SERVICE=$(or $(CVE_SERVICE),pypi) CVE_OSV_URL=$(CVE_OSV_URL) $(BIN)/python -m tests.supply_chain cve

lint: $(STAMP)-dev ## Check style, types and the import contract
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(STAMP)-dev ## Compare speeds with other programs, in one run, as ratios
	@for bench in receiving latency memory model_speed intake_speed dead_broker drain trail_speed console_speed; do echo "== $$bench"; $(BIN)/python -m benchmarks.$$bench || exit 1; done

lock: $(STAMP)-dev ## Resolve the hash-pinned requirements again
	@set -e; compile="$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate pyproject.toml"; \
	$$compile --extra cpu --extra train --group dev -o requirements/dev.txt; \
	$$compile --extra cpu -c requirements/dev.txt -o requirements/cpu.txt; \
	$$compile --extra gpu -c requirements/dev.txt -o requirements/gpu.txt; \
	$$compile -c requirements/dev.txt -o requirements/base.txt

test-tools: ## Install the Debian and npm tools that the interoperability tests drive (as root)
	@bash tests/install-tools.sh $(TOOLS)

clean: ## Remove the environment, caches and the demo's data
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build *.egg-info

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "python3 is missing: sudo apt-get install python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; this is $$($(PYTHON) -V)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "python3-venv is missing: sudo apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(STAMP)-node: requirements/cpu.txt pyproject.toml | $(VENV)/bin/python
	@if [ ! -e $(STAMP)-dev ] || [ $(STAMP)-dev -ot requirements/dev.txt ]; then \
	  echo "Installing the node (about 1 GB, TensorFlow is most of it) ..."; \
	  $(BIN)/python -m pip install --disable-pip-version-check --progress-bar on --require-hashes -r requirements/cpu.txt; \
	  $(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation --editable .; fi
	@touch $@

$(STAMP)-dev: requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	@echo "Installing the node with its test tools ..."
	@$(BIN)/python -m pip install --disable-pip-version-check -q --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation --editable .
	@touch $@
