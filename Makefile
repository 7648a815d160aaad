# make install   .venv with everything that development needs (the second time: nothing to do)
# make serve     install what running needs, start the server; HOST, PORT and DATA_DIR are passed on
# make test      all tests          make check   lint, format, types, layers          make clean
#
# PYTHON=python3.12        another interpreter (3.11 or newer)
# TORCH_INDEX=https://…    where pip gets torch from, to choose a CPU or CUDA build (see README)

PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
SERVE_FLAGS := $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) $(if $(DATA_DIR),--data-dir "$(DATA_DIR)")

.PHONY: install serve test check format clean

install: $(VENV)/.development

serve: $(VENV)/.running
	@exec $(BIN)/chiasm serve $(SERVE_FLAGS)

test: $(VENV)/.development
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/.development
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(VENV)/.development
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "expected Python 3.11 or newer, got $$($(PYTHON) --version 2>&1); try make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@touch $@

# torch comes first and alone: only here does it matter which build of it is taken.
$(VENV)/.torch: $(VENV)/.python constraints.txt
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@touch $@

$(VENV)/.running: $(VENV)/.torch pyproject.toml
	$(PIP) -e .
	@touch $@

$(VENV)/.development: $(VENV)/.torch pyproject.toml
	$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.running
