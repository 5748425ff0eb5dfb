# `make demo` and `make test` set themselves up. No root, no Redis, no API key.
.PHONY: help setup demo up test test-encrypted check unit docs screenshots bench bench-quick soak soak-hosts site image release lock clean

# The newest tried Python that is at least 3.11; `make PYTHON=python3.12 ...` overrides it.
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.13 python3.14; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$p && break; done)
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

setup: .venv/.installed ## create .venv and install the locked dependencies

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Deedbox needs Python 3.11 or later, and none was found; install it, or name it: make PYTHON=/path/to/python3.12 setup"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "Python could not make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

.venv/.installed: requirements.txt pyproject.toml | .venv/bin/python
	@echo "Installing the locked dependencies into .venv ..."
	@$(PIP) install --require-hashes -r requirements.txt
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

.venv/.installed-dev: requirements-dev.txt .venv/.installed
	@echo "Installing the development tools into .venv ..."
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

.venv/.installed-bench: requirements-bench.txt .venv/.installed
	@echo "Installing the peers that the benchmark measures against ..."
	@$(PIP) install --require-hashes -r requirements-bench.txt
	@touch $@

demo: setup ## run the main job end to end against a simulated Dropbox Sign
	@$(BIN)/deedbox demo

up: setup ## start the pipeline and stay (reads the environment and .env)
	@$(BIN)/deedbox up

check: .venv/.installed-dev ## ruff, mypy strict, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

unit: .venv/.installed-dev ## the fast tests: unit, properties, contracts on the fake Redis
	@$(BIN)/pytest -q -n auto --maxprocesses 4 tests/unit tests/properties tests/contract -m "not real_redis"

docs: .venv/.installed-dev ## write the pages that are made from code
	@$(BIN)/python docs/generate.py

screenshots: .venv/.installed-dev ## take the pictures of docs/images again (Chromium)
	@$(BIN)/python -m tests.screenshots

test: .venv/.installed-dev check ## check, then every test
	@$(BIN)/pytest -n 3 --dist loadfile || { \
		test $$? = 1 || { echo "The run broke off: what was not run is not known to pass."; exit 1; }; \
		grep -q :: .pytest_cache/v/cache/lastfailed && \
		echo "What failed runs once more, alone: real servers beside each other can be slow. A second failure counts." && \
		$(BIN)/pytest --last-failed --last-failed-no-failures none; }

ENCRYPTED := $(addprefix tests/component/workers/test_,actions.py auto_signature.py confirmation.py gaps.py isolation.py poison.py quotas.py simulated.py trust.py)

test-encrypted: .venv/.installed-dev ## core paths and the simulation once more, with a key ring
	@DEEDBOX_TESTS_ENCRYPTED=1 $(BIN)/pytest -q $(ENCRYPTED)
	@$(BIN)/python -m tests.simulation --encrypted --schedules 2000 --jobs 2

bench: .venv/.installed-bench ## measure against RQ, Celery and taskiq, side by side (about 25 minutes)
	@$(BIN)/python -m tests.bench

bench-quick: .venv/.installed-bench ## the same in about 3 minutes
	@$(BIN)/python -m tests.bench --quick

soak-hosts: .venv/.installed-dev ## 10 minutes of traffic on hosts (network namespaces) that vanish, die and are upgraded; root
	@$(BIN)/python -m tests.hosts --seconds 600

soak: .venv/.installed-dev ## 5 minutes of traffic under random kills, then the proof that nothing was lost
	@$(BIN)/python -m tests.soak --seconds 300

site: .venv/.installed-dev ## build the documentation site into build/site; a broken link fails it
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file deploy/site/mkdocs.yml

image: ## build the container image without a container engine, and start web in it (root, buildah, debootstrap)
	@sh tests/deploy/image.sh

release: .venv/.installed-dev ## build wheel, sdist, SBOM and licence list into dist/, and run the demo from the wheel
	@$(BIN)/python deploy/release.py

lock: .venv/.installed-dev ## resolve the dependencies again
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --upgrade \
		--python-version 3.11 --extra alerts --extra encryption --extra stores --extra build pyproject.toml -o requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --upgrade \
		--python-version 3.11 --extra alerts --extra encryption --extra stores --extra build --extra dev -c requirements.txt pyproject.toml -o requirements-dev.txt
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --upgrade \
		--python-version 3.11 --extra alerts --extra encryption --extra stores --extra build --extra bench -c requirements.txt pyproject.toml -o requirements-bench.txt

clean: ## remove the virtual environment and caches; var/ (data!) stays
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
