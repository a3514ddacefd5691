# Everything below works on a machine with Python 3.11, make and a C++ compiler, and nothing else.
PYTHON ?= python3
BIN := .venv/bin
PLUGINS := $(sort $(wildcard plugins/*))
STAMP := .venv/.installed

.PHONY: setup demo test lint types bench claims docs site dist release clean

setup: $(STAMP)

$(STAMP): pyproject.toml $(wildcard plugins/*/pyproject.toml)
	$(PYTHON) -c "import sys; sys.exit('owae needs Python 3.11 or newer, found ' + sys.version) if sys.version_info < (3, 11) else None"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' $(foreach plugin,$(PLUGINS),-e $(plugin))
	touch $(STAMP)

RUN := runs/quickstart

demo: setup
	$(BIN)/owae train examples/quickstart.toml --out $(RUN) --overwrite
	@echo
	@echo "Measured on the 1,000 held-out digits:"
	$(BIN)/owae evaluate $(RUN)
	@echo
	@echo "Pictures:"
	@$(BIN)/owae sample $(RUN) -n 100
	@$(BIN)/owae traverse $(RUN)
	@$(BIN)/owae reconstruct $(RUN)

# All tests, the slow ones too; `pytest` alone leaves those out.
# Two processes of one thread each take less time than one of two; JOBS=0 runs all in one. Bytecode is kept, for tests start many processes.
JOBS ?= 2

test: setup
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m ""

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/pyright

# Ratios want a quiet machine; the peers are installed for it alone.
bench: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check POT tqdm
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps pythae
	$(BIN)/python benchmarks/engine_overhead.py
	$(BIN)/python benchmarks/divergence_targets.py
	$(BIN)/python benchmarks/divergence_peers.py
	$(BIN)/python benchmarks/loader.py
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/celeba_step.py --steps 2

claims: setup
	$(BIN)/python benchmarks/paper_claims.py
	$(BIN)/python benchmarks/deep_variants.py

docs: setup
	$(BIN)/python -m pytest -q -m "" tests/test_docs.py tests/test_site.py

# The documentation site, in build/site, with warnings as errors.
site: setup
	$(BIN)/python tools/site.py

# Wheels and sdists of all distributions in dist/, checked, and installed from there into a clean environment; LOWEST=1 also with the
# lowest versions of the dependencies. Downloads PyTorch.
dist: setup
	PYTHON=$(CURDIR)/$(BIN)/python tools/dist.sh

release: setup
	tools/release.sh

clean:
	rm -rf .venv runs build dist
