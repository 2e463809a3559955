# What a person types. `make` alone lists it. Needs Python 3.10 or newer, make and pip; knows nothing of the code.
#
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu    a small download on Linux
#   make demo PYTHON=python3.12                                   another interpreter

PYTHON ?= python3
TORCH_INDEX ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt

.DELETE_ON_ERROR:
.PHONY: help demo test slow peers lint typecheck architecture docs docs-check wheel-check bench clean

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.run ## write a story with the embedded checkpoint
	@$(BIN)/gencli generate --preset creative "Once upon a time"

# The tests start gencli hundreds of times: it is compiled first, for Pythons that are told to keep nothing. Each worker takes a half
# of the tests and then of what the other has left, so that what a module's tests share is made once.
test: $(VENV)/.dev ## the whole test suite (without the slow proofs)
	@$(BIN)/python -m compileall -q src
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not peers"

slow: $(VENV)/.dev ## the longer proofs that `make test` leaves out
	@$(BIN)/python -m compileall -q src
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "slow and not peers"

peers: $(VENV)/.peers ## compare with llama.cpp, which is built first: some six minutes
	$(BIN)/python -m pytest -m peers

lint: $(VENV)/.dev ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(VENV)/.dev ## types, strictly
	$(BIN)/mypy

architecture: $(VENV)/.dev ## which file may import which
	$(BIN)/lint-imports

docs: $(VENV)/.dev ## write the generated parts of the documentation anew
	$(BIN)/python scripts/docs.py

docs-check: $(VENV)/.dev ## fail where the documentation differs from the code
	$(BIN)/python scripts/docs.py --check

wheel-check: $(VENV)/.dev ## build the wheel, install it into an empty environment, run it in an empty folder
	$(BIN)/python scripts/check_wheel.py

bench: $(VENV)/.dev ## start-up time and the cost of live bars and of traces
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/bars.py
	$(BIN)/python benchmarks/traces.py

clean: ## remove the environment and what was built
	rm -rf $(VENV) dist build .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache

# An environment with the pinned pip. Where Python came without ensurepip (Debian), the pip at hand puts one in.
$(VENV)/.pip: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "gencli needs Python 3.10 or newer, and '$(PYTHON)' is not; name another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV) ..."; $(PYTHON) -m venv --without-pip $(VENV); }
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(BIN)/python -m ensurepip >/dev/null 2>&1 || \
	  $(PYTHON) -m pip install --quiet --target "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" pip
	@$(INSTALL) pip
	@touch $@

# torch first and without its dependencies: an index of torch builds does not carry the pinned versions of the others.
$(VENV)/.torch: $(VENV)/.pip
	@$(BIN)/python scripts/torch_download.py --index-url "$(TORCH_INDEX)"
	@echo "Installing torch ..."
	@$(INSTALL) --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@touch $@

# The build tools come from the constraints too: nothing unpinned is fetched to build gencli.
$(VENV)/.run: $(VENV)/.torch pyproject.toml
	@echo "Installing gencli ..."
	@$(INSTALL) hatchling
	@$(INSTALL) --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@echo "Installing what the tests need ..."
	@$(INSTALL) --no-build-isolation --editable '.[dev]'
	@touch $@

# llama.cpp has build tools of its own, which an environment for its build alone gets.
$(VENV)/.peers: $(VENV)/.dev
	@echo "Building llama.cpp ..."
	@$(INSTALL) llama-cpp-python
	@touch $@
