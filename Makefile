# The whole loop. `make demo` and `make test` need Python 3.11+ and nothing else; each does its own set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-long check actionlint bench setup setup-dev setup-ci format lock clean

demo: setup
	@$(BIN)/rowhouse demo $(if $(KEEP),--keep)

test: setup-dev
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not long"

test-long: setup-dev
	$(BIN)/pytest -n 2 -o faulthandler_timeout=7200 -m long

check: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m rowhouse.spec.schema --check
	$(BIN)/python -m policies.pages --check
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not long"

# Needs Go, which builds it from its pinned source; where actionlint is on PATH, the tests run it too.
actionlint:
	go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12 -no-color

bench: setup-dev
	@$(BIN)/python -m bench

format: setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

setup: $(VENV)/.installed
setup-dev: $(VENV)/.installed-dev
# In a workflow: the later steps of the job find the `rowhouse` command.
setup-ci: setup
	@echo "$(CURDIR)/$(BIN)" >> "$${GITHUB_PATH:-/dev/null}"

$(VENV)/.installed: requirements.txt pyproject.toml scripts/setup.sh
	@PYTHON=$(PYTHON) sh scripts/setup.sh requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt pyproject.toml scripts/setup.sh
	@PYTHON=$(PYTHON) sh scripts/setup.sh requirements-dev.txt
	@touch $@ $(VENV)/.installed

# Locks carry hashes and no index address; they are valid for Python 3.11 to 3.13.
lock: setup-dev
	$(BIN)/uv pip compile -q pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements.txt --upgrade
	$(BIN)/uv pip compile -q pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -c requirements.txt -o requirements-dev.txt --upgrade

clean:
	rm -rf $(VENV) .rowhouse build .pytest_cache .mypy_cache .ruff_cache .hypothesis
