# The two commands of a newcomer: make run, make test. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := $(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# The backend that the operator chose, in the environment or in .env; `make run` takes a model of
# its own where there is none. What runs a model in this process is installed where it is wanted.
IYAGI_ENV_FILE ?= .env
LLM := $(or $(IYAGI_LLM),$(shell sed -nE 's/[[:space:]]+\#.*//; s/^[[:space:]]*(export[[:space:]]+)?IYAGI_LLM[[:space:]]*=//p' \
    $(or $(IYAGI_ENV_FILE),/dev/null) 2>/dev/null | tail -n 1 | tr -d "[:space:]'\""))
LOCAL := $(if $(filter llamacpp,$(LLM)),$(VENV)/.local)

STUDIO_PORT ?= 2024
# What `langgraph dev` would send: traces, usage, and the question for newer versions.
NO_CALLS_HOME := LANGSMITH_TRACING=false LANGGRAPH_CLI_NO_ANALYTICS=1 LANGGRAPH_NO_VERSION_CHECK=1

.PHONY: help run model test test-all check fmt lock studio play serve notebook huggingface kiwi schema clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-12s %s\n", $$1, $$2}'

run: $(VENV)/.base $(if $(LLM),$(LOCAL),$(VENV)/.local) ## set up, then answer one turn on the mock data with a small model
	@$(BIN)/python -m handler --local $(ARGS)

model: $(VENV)/.base $(VENV)/.local ## choose a better model to run on this machine, MODEL=name
	@$(BIN)/python -m scripts.model $(MODEL)

test: $(VENV)/.dev ## set up, then run the tests
	@$(BIN)/python -m pytest -n auto --dist loadfile

test-all: $(VENV)/.dev ## the tests, slow ones too
	@$(BIN)/python -m pytest -n auto --dist loadfile -m "slow or not slow"

check: $(VENV)/.dev ## lint, format check, types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy .

fmt: $(VENV)/.dev ## format the code
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

play: $(VENV)/.base $(LOCAL) ## chat in the browser and look at each turn; also a server for OpenAI clients
	@$(BIN)/python -m play

serve: $(VENV)/.base $(LOCAL) ## serve OpenAI clients and backends on 127.0.0.1:8080, ARGS="--port 8000"
	@$(BIN)/python -m server $(ARGS)

studio: $(VENV)/.dev $(LOCAL) ## serve the graph for LangGraph Studio on 127.0.0.1, STUDIO_PORT=2024
	@env -u LANGSMITH_API_KEY $(NO_CALLS_HOME) $(BIN)/langgraph dev \
	    --no-browser --no-reload --host 127.0.0.1 --port $(STUDIO_PORT)

notebook: $(VENV)/.dev ## open the guided tour in JupyterLab, which it installs (about 100 MB)
	@$(PIP) install ".[notebook]"
	@$(BIN)/jupyter lab notebooks/iyagi.ipynb

huggingface: $(VENV)/.dev ## add torch and transformers (about 1 GB, more with CUDA)
	@$(PIP) install ".[huggingface]"

kiwi: $(VENV)/.base ## add the Korean analyser Kiwi (100 MB)
	@$(PIP) install ".[kiwi]"

schema: $(VENV)/.base ## write docs/schema/ and the tables of settings anew
	@$(BIN)/python -m scripts.export_docs

lock: $(VENV)/.dev ## write the lock files anew from pyproject.toml
	@$(PIP) install uv
	@rm -f requirements-dev.lock requirements.lock requirements-local.lock
	@$(LOCK) --extra dev pyproject.toml -o requirements-dev.lock
	@$(LOCK) -c requirements-dev.lock pyproject.toml -o requirements.lock
	@$(LOCK) --no-deps --group local -o requirements-local.lock

clean: ## remove the environment, the indexes and downloaded models
	@rm -rf $(VENV) data/indexes .langgraph_api .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Iyagi needs Python 3.11 or newer; say make PYTHON=python3.12 ..." >&2; exit 2; }
	@echo "Setting up $(VENV), once (one to two minutes) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.base: requirements.lock | $(VENV)/bin/python
	@$(PIP) install --no-deps --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock | $(VENV)/bin/python
	@$(PIP) install --no-deps --require-hashes -r requirements-dev.lock
	@touch $@ $(VENV)/.base

# Small enough for every machine, and not needed: where it cannot be had, `scripted` answers and says
# so. Never built from source, which would take an hour. The base first: it makes the environment.
$(VENV)/.local: requirements-local.lock | $(VENV)/.base
	@if $(PIP) install --no-deps --require-hashes --only-binary :all: --retries 1 --timeout 15 \
	    -r requirements-local.lock 2>/dev/null; then touch $@; fi
