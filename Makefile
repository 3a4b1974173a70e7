# `make` lists the targets. Each installs into .venv what it needs, once.
#
# Variables: PYTHON (an interpreter, 3.11 to 3.13), VENV (.venv), TORCH (pip's
# words for PyTorch), BACKEND and BACKENDS, PYTEST (more words for pytest, for
# example PYTEST="-n 0" for one process).

SHELL := bash
.DEFAULT_GOAL := help
.NOTPARALLEL:

VENV ?= .venv
BACKEND ?= tensorflow
BACKENDS ?= tensorflow jax torch
export PYTHON VENV TORCH

# either may hold spaces, which make's own functions on paths do not stand
absolute = $(if $(filter /%,$(firstword $(1))),,$(CURDIR)/)$(1)
PY := "$(call absolute,$(VENV))/bin/python"
HAVE := tools/environment.sh
QUIET := tools/quiet.sh

# the extra that each backend comes with; TensorFlow comes with the library
extras = test $(filter-out tensorflow,$(1))

# $(call pytest,BACKENDS,MARKERS,SETTINGS): all backends run, the worst counts
# One OpenMP thread: workers share the cores, and PyTorch's threads wait by
# spinning. The fast tests compile hundreds of programs that run for moments:
# XLA optimizes the graphs as always, writes fusions without MLIR, and LLVM does
# not optimize the machine code. The slow and the parity tests run what users run.
FAST := XLA_FLAGS="$$XLA_FLAGS --xla_backend_optimization_level=0 \
    --xla_cpu_use_fusion_emitters=false"
define pytest
@status=0; for backend in $(1); do \
    echo "== pytest -m '$(2)' on $$backend"; \
    OMP_NUM_THREADS=1 KERAS_BACKEND=$$backend $(3) $(QUIET) $(PY) -m pytest -q -m "$(2)" \
        -n auto --maxprocesses 4 --dist worksteal $(PYTEST) \
        || status=1; \
done; exit $$status
endef

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' \
		$(MAKEFILE_LIST)

.PHONY: demo
demo: ## train the digit DDPM, draw, export, draw again from the export
	@$(HAVE) library
	@KERAS_BACKEND=tensorflow $(QUIET) $(PY) examples/ddpm_digits.py
	@$(QUIET) $(PY) examples/draw_saved_model.py runs/ddpm-digits

.PHONY: test
test: ## the tests on one backend (BACKEND=tensorflow)
	@$(HAVE) $(call extras,$(BACKEND))
	$(call pytest,$(BACKEND),not slow and not parity and not gpu,$(FAST))

.PHONY: test-all
test-all: ## the tests on BACKENDS="tensorflow jax torch"
	@$(HAVE) $(call extras,$(BACKENDS))
	$(call pytest,$(BACKENDS),not slow and not parity and not gpu,$(FAST))

.PHONY: test-slow
test-slow: ## the tests that train for longer, on one backend
	@$(HAVE) $(call extras,$(BACKEND))
	$(call pytest,$(BACKEND),slow and not gpu)

.PHONY: parity
parity: export SU_MODELS_LEGACY_PYTHON = $(call absolute,$(VENV))-legacy/bin/python
parity: ## the tests against peers (transformers, diffusers, optax ...)
	@$(HAVE) test jax torch parity
	@VENV="$(VENV)-legacy" $(HAVE) legacy
	$(call pytest,$(BACKENDS),parity and not gpu)

.PHONY: examples-smoke
examples-smoke: ## each example for some steps, in a temporary folder
	@$(HAVE) poems
	@KERAS_BACKEND=$(BACKEND) tools/smoke.sh $(PY)

.PHONY: bench
bench: export SU_MODELS_LEGACY_PYTHON = $(call absolute,$(VENV))-legacy/bin/python
bench: ## the benchmarks of a CPU, beside their peers in the same run
	@$(HAVE) test jax torch parity
	@VENV="$(VENV)-legacy" $(HAVE) legacy
	@for benchmark in benchmarks/*.py; do \
		if [ $$benchmark = benchmarks/gpu.py ]; then continue; fi; \
		name=$${benchmark%.py}; echo "== $$benchmark"; \
		$(QUIET) $(PY) -m "$${name/\//.}" || exit 1; \
	done

.PHONY: lint
lint: ## ruff: rules and format; codespell
	@$(HAVE) test
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m codespell_lib

.PHONY: format
format: ## let ruff put right what it can
	@$(HAVE) test
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

.PHONY: articles
articles: ## write ARTICLES.md anew, from the docstrings
	@$(HAVE)
	@$(PY) tools/articles.py --write

.PHONY: clean
clean: ## remove the environment and what tools leave; runs/ stays
	@for venv in "$(VENV)" "$(VENV)-legacy"; do \
		if [ -f "$$venv/.su_models/made-here" ]; then rm -rf "$$venv"; \
		elif [ -e "$$venv" ]; then echo "$$venv was not made here: it stays."; \
		fi; \
	done
	@rm -rf build dist site *.egg-info .pytest_cache .ruff_cache
	@find su_models tests tools examples benchmarks -name __pycache__ \
		-prune -exec rm -rf {} + 2>/dev/null || true
