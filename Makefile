# Two commands matter: `make demo` and `make test`. Each sets up everything it needs by itself.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
# pip compiles nothing here (scripts/bootstrap.py): who keeps Python from writing bytecode would have
# every process of a test compile all libraries anew, which is more than half of what it costs.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help setup servers oracle hsm browser collected demo test ready unit faults faults-short fmt lint types bench bench-intent docs lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## Create .venv from the hashed lock (quick when nothing changed)
	@$(PYTHON) scripts/bootstrap.py dev

servers: ## Install the published MCP servers that the demo and the journeys govern
	@$(PYTHON) scripts/bootstrap.py mcp-git mcp-sqlite

oracle: ## Install the independent log reader that the tests hold against ours
	@$(PYTHON) scripts/bootstrap.py tlog

hsm: ## Find a SoftHSM, or install it with the system's package manager
	@$(PYTHON) scripts/softhsm.py

browser: ## Find a Chromium, or install it with the system's package manager
	@$(PYTHON) scripts/browser.py

demo: setup servers browser ## Run the whole story on real MCP servers (ARGS="--auto --keep")
	@$(BIN)/actfor demo $(ARGS)

test: ## Run all checks and all tests
	@$(MAKE) --no-print-directory -j3 ready
	@$(BIN)/pytest -q -n logical --maxprocesses 4 --dist worksteal $(ARGS)

# What can be made side by side is: environments and packages, and the checks as soon as .venv is there.
ready: setup servers oracle hsm browser types lint collected

# One process compiles the tests, so that each of those that run them need not.
collected: setup
	@said=$$($(BIN)/pytest -q --collect-only $(ARGS) 2>&1) || { echo "$$said"; exit 1; }

unit: setup ## Only the quick tests: no browser, no servers
	@$(BIN)/pytest -q tests/unit tests/store tests/vectors tests/scenarios $(ARGS)

faults-short: setup ## Break it on purpose, briefly: kills, power cuts, races, tampering; a JSON line for each rig
	@$(BIN)/python -m tests.faults $(ARGS)

faults: setup ## The same at release length, for hours (ARGS="R4 --cycles 5000 --seed 7" for one rig)
	@$(BIN)/python -m tests.faults --release $(ARGS)

fmt: setup ## Format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lint: setup ## Style, and the order of the rooms
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/lint-imports --config importlinter.ini

types: setup ## mypy, strict
	@$(BIN)/mypy

bench: setup servers ## Measure against named peers in the same run; the last line is JSON
	@$(BIN)/python -m bench $(ARGS)

bench-intent: ## Play hijacked agents through the decision point (ARGS="--quick --failures FILE")
	@$(PYTHON) scripts/bootstrap.py intent
	@.venv-intent/bin/python -m bench.intent $(ARGS)

docs: setup ## Check that the docs' snippets run and their generated parts are current
	@$(BIN)/pytest -q tests/journeys/test_readme.py $(ARGS)

lock: setup ## Resolve requirements/*.in again (needs uv)
	@$(BIN)/python scripts/lock.py

clean: ## Remove environments and caches
	rm -rf .venv .venv-* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .demo
