# Everything a contributor types. `make` alone lists it.
PYTHON ?= python3
BIN    := .venv/bin
CONSTRAINTS := $(if $(CI),-c .ci/constraints.txt)

TIER ?= long

.PHONY: help run test faults check bench browser firefox screenshots clean
help: ## List the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST)

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[demo,dev]' $(CONSTRAINTS)
	@touch $@

run: .venv/ready ## Start the demo server on 127.0.0.1:8000
	$(BIN)/jalebi demo

browser: ## Install Debian's chromium, curl and jq where they are missing and may be installed
	@sh tests/browser/install.sh

test: .venv/ready browser ## Run the tests
	$(BIN)/pytest --quiet

faults: .venv/ready ## Break things on purpose, with the full numbers; TIER=quick takes some minutes
	@sh tests/faults/install.sh
	JALEBI_FAULTS=$(TIER) $(BIN)/pytest --quiet -rA -s -m faults tests/faults

check: .venv/ready ## Lint, type-check and check the import directions
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/ready ## Measure this machine and print ratios
	$(BIN)/python -m benchmarks

screenshots: .venv/ready browser ## Make the README's pictures from the running product
	$(BIN)/python docs/screenshots.py

firefox: .venv/ready ## Look at every page in Firefox, where it is installed
	@$(BIN)/python -m tests.browser.firefox

clean: ## Remove what was installed and built
	rm -rf .venv dist build .pytest_cache .mypy_cache .ruff_cache
