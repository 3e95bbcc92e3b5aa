# Every target does its own set-up: on a fresh machine Python 3.11 or newer, pip and make are enough.
# PYTHON=/path/to/python chooses the interpreter, ARGS="..." goes to the command behind the target.

BIN := .venv/bin
PIP := $(BIN)/python -m pip -qq --no-input --disable-pip-version-check
DEMO := manifests/01-first-steps.yaml
AXE := 4.14.1
MOTO := 5.2.5

# Settings that would make pip or Python look somewhere else than .venv.
unexport PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX PIP_PYTHON
# Tests start Python hundreds of times: compiling all of it each time would cost more than most of them.
unexport PYTHONDONTWRITEBYTECODE
# Nothing here ever needs an account, so none of it can reach one.
unexport RIVYA_API_KEY RIVYA_API_KEY_FILE RIVYA_BASE_URL RIVYA_STATE

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help install demo test test-extra check format schemas readme pictures crash cluster bench lock clean anew

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

install: .venv/.compiled ## put the command rivya-batch into .venv
	@echo "ready: $(BIN)/rivya-batch --help"

demo: .venv/.compiled ## run the first example in the sandbox and open its page: no key, no network, nothing is paid
	@echo "$$ rivya-batch run $(DEMO) --sandbox --open $(ARGS)"
	@$(BIN)/rivya-batch run $(DEMO) --sandbox --open $(ARGS)

test: .venv/.dev .venv/.compiled ## run the tests
	@$(BIN)/python -m pytest $(ARGS)

test-extra: .venv/.extra .venv/.compiled ## run the slow tests, the public suites, and those that need a browser, schemathesis, PostgreSQL or S3
	@$(BIN)/python -m pytest -m "extra or slow" $(ARGS)

check: .venv/.dev ## check formatting, lint, types, layers and generated text
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/unit/test_layers.py
	$(BIN)/python -m tests.schemas --check
	$(BIN)/python -m tests.readme --check

format: .venv/.dev ## format the code and fix what ruff can fix
	$(BIN)/ruff check --quiet --fix .
	$(BIN)/ruff format --quiet .

schemas: .venv/.dev ## generate schemas/manifest.schema.json from the contracts
	$(BIN)/python -m tests.schemas --write

readme: .venv/.dev ## write the generated parts of README.md and the pages of runner/
	$(BIN)/python -m tests.readme --write

pictures: .venv/.extra ## take the pictures of README.md from a real sandbox run (needs Chromium)
	@$(BIN)/python -m tests.pictures

crash: .venv/.dev .venv/.compiled ## the slow tests, then 500 kills over 1,000 jobs with every fault on; prints what was paid twice (half an hour)
	@$(BIN)/python -m pytest -m "crash or slow" --crash-rounds=500 -s $(ARGS)
	@MONEY_EXAMPLES=500 $(BIN)/python -m pytest tests/property/test_money_machine.py $(ARGS)

cluster: .venv/.extra .venv/.compiled ## three runs on one PostgreSQL database, one of them killed while you watch (a minute; nothing is paid)
	@$(BIN)/python -m tests.cluster

bench: .venv/.dev .venv/.compiled ## measure (minutes)
	@$(BIN)/python -m tests.bench $(ARGS)

lock: .venv/.place ## update requirements*.lock (needs the network)
	@$(PIP) install uv
	@set -e; for file in requirements requirements-dev requirements-extra; do \
	  case $$file in \
	    requirements) groups="--group build" ;; \
	    requirements-dev) groups="--group build --group dev -c requirements.lock" ;; \
	    requirements-extra) groups="--group build --group dev --group extra -c requirements-dev.lock" ;; \
	  esac; \
	  UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --no-config --universal \
	    --python-version 3.11 --generate-hashes --no-annotate --no-emit-package pip --upgrade \
	    $$groups pyproject.toml --output-file $$file.lock; \
	done

clean: ## remove .venv and caches; never state/ or results
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment. A stamp is written last, so that an interrupted step is done again, and a changed lock
# installs again; when nothing changed, none of this runs and nothing asks the network.

.venv/.runtime: .venv/.place requirements.lock pyproject.toml
	@echo "installing the locked packages into .venv (once; needs the network; about 20 s)"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# Else every start compiles all of it anew where PYTHONDONTWRITEBYTECODE is set: it costs a quarter of a second.
.venv/.compiled: .venv/.runtime $(shell find runner -name '*.py')
	@$(BIN)/python -m compileall -q runner
	@touch $@

.venv/.dev: .venv/.runtime requirements-dev.lock
	@echo "installing the tools for tests and checks into .venv (once)"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

.venv/.extra: .venv/.dev requirements-extra.lock
	@echo "installing playwright, psycopg, PyAV, schemathesis and moto into .venv (once)"
	@$(PIP) install --require-hashes -r requirements-extra.lock
	@mkdir -p .venv/axe; cd .venv/axe && npm pack --silent axe-core@$(AXE) >/dev/null 2>&1 \
	  && tar -xzf axe-core-$(AXE).tgz --strip-components=1 package/axe.min.js \
	  || echo "no axe-core (it comes by npm): the tests that want it are skipped"
	@$(BIN)/python -m venv .venv/s3 && .venv/s3/bin/python -m pip -qq install "moto[s3]==$(MOTO)" flask flask-cors \
	  || echo "no moto (an imitation of S3, in a place of its own): the tests that want it are skipped"
	@touch $@

# .venv holds absolute paths: a moved or copied folder, or another PYTHON=, makes a new one.
ifneq "$(shell cat .venv/.place 2>/dev/null)" "$(CURDIR)"
.venv/.place: anew
endif
ifneq "$(PYTHON)" ""
ifneq "$(PYTHON)" "$(shell cat .venv/.python 2>/dev/null)"
.venv/.place: anew
endif
endif

# An interpreter counts when it *runs* and is new enough: a name on the PATH may be a shim of a version that is
# not there. Without ensurepip (Debian keeps it in python3-venv) the pip beside the interpreter will do.
.venv/.place:
	@set -e; \
	try() { "$$1" -c "$$2" >/dev/null 2>&1; }; \
	if [ -n "$$PYTHON" ]; then set -- "$$PYTHON"; \
	else set -- python3.14 python3.13 python3.12 python3.11 python3 python; fi; \
	bare=; \
	for python do \
	  try "$$python" 'import sys; sys.exit(sys.version_info < (3, 11))' || continue; \
	  if try "$$python" 'import ensurepip, venv'; then flags=; \
	  elif try "$$python" 'import pip, venv'; then flags=--without-pip; \
	  else bare="$$bare $$python"; continue; fi; \
	  echo "making .venv with $$("$$python" --version)"; \
	  rm -rf .venv; "$$python" -m venv $$flags .venv; \
	  if [ -n "$$flags" ]; then \
	    "$$python" -m pip -qq --python $(BIN)/python install --disable-pip-version-check pip; \
	  fi; \
	  printf '%s\n' "$$PYTHON" >.venv/.python; printf '%s\n' "$(CURDIR)" >$@; exit 0; \
	done; \
	if [ -n "$$bare" ]; then \
	  echo "make: found$$bare, but without ensurepip or pip, so no .venv can be made." >&2; \
	  echo "      On Debian and Ubuntu: apt install python3-venv   then type the same command again." >&2; \
	else \
	  echo "make: no Python 3.11 or newer was found (tried: $$*)." >&2; \
	  echo "      Install one, or name one: make install PYTHON=/path/to/python3.12" >&2; \
	fi; \
	exit 1
