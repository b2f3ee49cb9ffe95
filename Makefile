# Every target does its own set-up in .venv, on a machine with Python, pip and make.
# Written for GNU make 3.81 (macOS) and newer; the path of the folder may hold spaces.

SUPPORTED := 3.11 3.12 3.13
NOTEBOOKS := notebooks/*.ipynb
TARGETS := parity runtimes latency size
BIN := .venv/bin
# The last file that an installation writes, holding the folder it was made for. An interrupted
# installation has none and starts again.
READY := .venv/ready
# The environment of `make scale`: Ray does not start reliably beside the packages of the lessons.
SCALE := .venv-scale
SCALE_READY := $(SCALE)/ready

# ONNX Runtime asks for a host of its maker unless this is set before its import. A kernel, a test or
# a tool that imports it without the helpers inherits it from here.
export ORT_DISABLE_TELEMETRY := 1

# The version of a Python, or nothing. Running it is the only proof: the shims of a version
# manager exist for versions that are not installed.
version = $(shell "$(1)" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)

ifdef PYTHON
wanted = $(call version,$(PYTHON))
candidates = $(PYTHON)
else
wanted = $(SUPPORTED)
candidates = python3 $(addprefix python,3.13 3.12 3.11)
PYTHON = $(firstword $(foreach name,$(candidates),\
	$(if $(filter $(SUPPORTED),$(call version,$(name))),$(name))) python3)
endif

# An environment is rebuilt when the folder was moved, or when its Python is gone or is not the
# one that was asked for.
installed_here := $(shell test "$$(cat $(READY) 2>/dev/null)" = "$$(pwd -P)" && echo yes)
ifeq ($(and $(installed_here),$(filter $(wanted),$(call version,$(BIN)/python))),)
.PHONY: $(READY)
endif
scale_installed_here := $(shell test "$$(cat $(SCALE_READY) 2>/dev/null)" = "$$(pwd -P)" && echo yes)
ifeq ($(and $(scale_installed_here),$(filter $(wanted),$(call version,$(SCALE)/bin/python))),)
.PHONY: $(SCALE_READY)
endif

# Stops before anything is created, with one line.
check_python = $(if $(filter $(SUPPORTED),$(call version,$(PYTHON))),,$(error $(PYTHON) is \
	$(or $(addprefix Python ,$(call version,$(PYTHON))),missing), and Python 3.11, 3.12 or 3.13 is \
	needed: install one, or name it, as in: make test PYTHON=/path/to/python3.12))
check_pip = $(if $(shell "$(PYTHON)" -m pip --help 2>/dev/null | grep -e --python),,$(error \
	$(PYTHON) has no pip, or one older than 22.3: install it, or upgrade it \
	(Debian and Ubuntu: apt install python3-pip)))

.PHONY: help lab test lint browser notebooks student slides numbers benchmark robust report mutation scale lock links format clean

help: ## list the targets (this text)
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

lab: $(READY) ## open the first notebook in JupyterLab (LAB_ARGS="--no-browser --port 8890")
	$(BIN)/python -m jupyterlab --ServerApp.ip=127.0.0.1 \
		--LabApp.default_url=/lab/tree/notebooks/01_save_and_load.ipynb \
		$(if $(filter 0,$(shell id -u)),--allow-root) $(LAB_ARGS)

test: lint ## check everything: style, helpers, environment, every cell of every notebook
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: $(READY) ## check style and format, notebooks included
	$(BIN)/python -m ruff check
	$(BIN)/python -m ruff format --check

browser: $(READY) ## run every cell of every notebook in JupyterLab in Chromium, keep screenshots
	EVERY_CELL_IN_THE_BROWSER=yes $(BIN)/python -m pytest tests/test_lab_browser.py --verbose

notebooks: $(READY) ## run the notebooks and store their outputs (NOTEBOOKS=notebooks/01_save_and_load.ipynb)
	$(BIN)/python tools/execute_notebooks.py $(NOTEBOOKS)

student: $(READY) ## write the notebooks without solutions and outputs to build/student
	$(BIN)/python tools/editions.py student $(NOTEBOOKS)

slides: $(READY) ## write a deck of slides for each lesson to build/slides (SLIDES_ARGS="--reveal FOLDER")
	$(BIN)/python tools/editions.py slides $(SLIDES_ARGS) $(NOTEBOOKS)

numbers: $(READY) ## print minutes to read, size of the environment (NUMBERS_ARGS="--run --binder --tests")
	$(BIN)/python tools/notebook_numbers.py $(NUMBERS_ARGS) $(NOTEBOOKS)

benchmark: $(READY) ## prove the measurements: parity matrix, A/A, pyperf, ratios (on a quiet machine)
	$(BIN)/python tools/benchmarks/bench_parity.py
	$(BIN)/python tools/benchmarks/bench_families.py
	$(BIN)/python tools/benchmarks/bench_latency.py

robust: $(READY) ## run it all under many conditions, go on where it stopped (ROBUST_ARGS="--jobs 2 --table")
	PYTHONPATH=tools $(BIN)/python -m robust $(ROBUST_ARGS)

report: $(READY) ## print this machine, and what failed in the last make test: to be sent
	$(BIN)/python tools/machine_report.py

mutation: $(READY) ## change the helpers on purpose and see a test fail (20 to 40 minutes; TARGETS=latency)
	$(BIN)/python tools/benchmarks/mutation.py $(TARGETS)

scale: $(READY) $(SCALE_READY) ## serve from two hosts with Ray Serve: update, kill, scale (SCALE_ARGS=--short)
	$(BIN)/python -m tools.scale $(SCALE_ARGS)

# An environment that is out of date will do: only uv is needed.
lock: $(if $(wildcard $(BIN)/uv),,$(READY)) ## compile both requirements*.txt from their lists (LOCK_ARGS=--upgrade)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras \
		--custom-compile-command "make lock" $(LOCK_ARGS) pyproject.toml --output-file requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
		--custom-compile-command "make lock" $(LOCK_ARGS) \
		requirements-scale.in --output-file requirements-scale.txt

links: $(if $(wildcard $(BIN)/python),,$(READY)) ## write the repository's address (pyproject.toml) to the README
	$(BIN)/python tools/update_links.py

format: $(READY) ## put code and notebooks in the one format
	$(BIN)/python -m ruff check --fix
	$(BIN)/python -m ruff format

clean: ## remove the environments and all caches
	rm -rf .venv $(SCALE) build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

# pip comes from the Python that was found: its own venv support may lack ensurepip (Debian).
$(READY): requirements.txt pyproject.toml
	$(check_python)$(check_pip)
	rm -rf .venv
	"$(PYTHON)" -m venv --without-pip .venv
	"$(PYTHON)" -m pip --python $(BIN)/python install pip
	$(BIN)/python -m pip install -r requirements.txt
	$(BIN)/python -m pip install --no-deps --editable .
	pwd -P > $(READY)

# KServe's package is read for the schema of its manifests, never run: so without what it needs.
$(SCALE_READY): requirements-scale.txt tools/scale/deploy/schemas.txt
	$(check_python)$(check_pip)
	rm -rf $(SCALE)
	"$(PYTHON)" -m venv --without-pip $(SCALE)
	"$(PYTHON)" -m pip --python $(SCALE)/bin/python install -r requirements-scale.txt
	"$(PYTHON)" -m pip --python $(SCALE)/bin/python install --no-deps -r tools/scale/deploy/schemas.txt
	pwd -P > $(SCALE_READY)
