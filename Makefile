# Every target makes its own virtual environment: git, make and Python 3.11 or newer are enough.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# One more at a time than there are processors: many tests wait for a process of theirs.
TESTERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')

.DEFAULT_GOAL := help
.PHONY: help demo test check test-live mutate bench docs example format clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 11

demo: $(VENV)/.installed ## Run the main job end to end: no account, key or network
	@$(BIN)/claudetm demo

test: $(VENV)/.developed ## Run every test
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports
	@$(BIN)/pytest -n $(TESTERS) --dist worksteal -q

check: $(VENV)/.developed ## Lint, types, import contract and the fast tests
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy . && $(BIN)/lint-imports
	@$(BIN)/pytest -n $(TESTERS) --dist worksteal -q -m "not e2e and not crash and not sweep and not bench and not live" tests/unit

test-live: $(VENV)/.developed ## Test the GitHub forge in CLAUDETM_LIVE_REPOSITORY=owner/name, and leave nothing there
	@PYTHONPATH=tests $(BIN)/python -m live.place
	@$(BIN)/pytest -v -rs -m live tests/live

mutate: $(VENV)/.developed ## Break GitHub forge and monitor in one place at a time: the suite must notice each
	@$(BIN)/python tests/mutations/run.py

bench: $(VENV)/.developed ## Measure, as ratios within one run
	@$(BIN)/pytest -q -s -m bench tests/benchmarks

docs: $(VENV)/.developed ## Write the generated parts of docs/
	@$(BIN)/python tests/generate_docs.py

example: $(VENV)/.developed ## Run the demo and write .claude-task-master.example/ and examples/basic/
	@$(BIN)/python tests/generate_example.py

format: $(VENV)/.developed ## Format and fix what can be fixed
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

clean: ## Remove the virtual environment and caches
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v >= (3, 11) or sys.exit("claudetm needs Python 3.11 or newer; %s is %d.%d. Set PYTHON=python3.11, say." % (sys.executable, *v))'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "python3 -m venv failed. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.developed: pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@{ command -v bwrap && command -v systemd-analyze; } >/dev/null \
	  || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null \
	  || { export DEBIAN_FRONTEND=noninteractive; timeout 120 apt-get update -qq && apt-get install -y -qq --no-install-recommends bubblewrap systemd; } >/dev/null 2>&1 \
	  || echo "bubblewrap, systemd: not installable here, so the tests of sandbox and units are skipped" >&2
	@touch $@ $(VENV)/.installed
