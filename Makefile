# Everything that a user or CI calls. `make` alone lists the targets.
PYTHON ?= python3
BIN := .venv/bin
EXPERIMENT := PYTHONPATH=.:tests/support $(BIN)/python tests/experiments

.PHONY: help run test test-fast test-arm64 check bench bench-roads bench-workers training-table qat-table turns candidates sampler-comparison ablation code-figures clean

help:
	@echo "make run         create .venv, install, run studies/quickstart.toml (about six minutes after the install)"
	@echo "make test        create .venv, install, run the whole test suite"
	@echo "make test-fast   create .venv, install, run the tests that wait for no training, server or browser"
	@echo "make test-arm64  as root: install in an emulated Debian 12 arm64, test and measure its agent"
	@echo "make check       create .venv, install, ruff, mypy --strict and the import contracts"
	@echo "make bench       create .venv, install, measure the speed of thrones itself: a table and bench.json"
	@echo "make bench-roads create .venv, install, measure the winners in studies/results again and check their targets"
	@echo "make bench-workers  many workers on their own PostgreSQL: studies/results/workers.csv (OPTIONS=\"--trials 200\")"
	@echo "make training-table  train one small network with different settings: studies/results/training.csv (half an hour)"
	@echo "make qat-table   int8 after training against quantization-aware training: studies/results/qat.csv (half an hour)"
	@echo "make turns       how often a faster architecture is pruned: studies/results/turns.jsonl (OPTIONS=\"--minutes 30\")"
	@echo "make candidates RUNS=\"runs/latency ...\"  add the measurements of studies to studies/results/candidates.csv"
	@echo "make sampler-comparison  compare samplers on those measurements: studies/results/samplers.* (OPTIONS=\"--seeds 4\")"
	@echo "make ablation    four searches, each with one more part: studies/results/ablation.csv (half an hour)"
	@echo "make code-figures  files, imports and density of the packages (OPTIONS=\"../other-checkout\")"
	@echo "make clean       remove .venv, runs and build"

# Installs again when pyproject.toml changes. Uses the user's python3, 3.10 to 3.13.
$(BIN)/.installed: pyproject.toml
	@echo "creating .venv and installing thrones (once; a few minutes)"
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 10) <= sys.version_info < (3, 14) else \
	"thrones needs Python 3.10 to 3.13, %s is %s; name another with make PYTHON=python3.12" \
	% (sys.executable, sys.version.split()[0]))'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[search,dev]'
	@touch $@

run: $(BIN)/.installed
	$(BIN)/thrones run studies/quickstart.toml

test: $(BIN)/.installed
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

test-fast: $(BIN)/.installed
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile -m "not slow"

test-arm64: $(BIN)/.installed
	tests/support/arm64.sh $(OR_SKIP) $(BIN)/python

check: $(BIN)/.installed
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(BIN)/.installed
	$(EXPERIMENT)/bench.py

bench-roads: $(BIN)/.installed
	$(EXPERIMENT)/bench_roads.py $(OPTIONS)

bench-workers: $(BIN)/.installed
	$(EXPERIMENT)/bench_workers.py $(OPTIONS)

training-table: $(BIN)/.installed
	$(EXPERIMENT)/training_table.py

qat-table: $(BIN)/.installed
	$(EXPERIMENT)/qat_table.py

turns: $(BIN)/.installed
	$(EXPERIMENT)/turns.py $(OPTIONS)

candidates: $(BIN)/.installed
	$(EXPERIMENT)/candidates.py $(RUNS)

sampler-comparison: $(BIN)/.installed
	$(EXPERIMENT)/sampler_comparison.py $(OPTIONS)

ablation: $(BIN)/.installed
	$(EXPERIMENT)/ablation.py

code-figures: $(BIN)/.installed
	$(EXPERIMENT)/code_figures.py $(OPTIONS)

clean:
	rm -rf .venv runs build
