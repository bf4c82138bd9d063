# make demo | lint | test | test-extras | test-oldest | test-pythons | fuzz | gpu-sweep | format | configs
#      docs | licences | audit | clean
# (PYTHON=python3.12 chooses an interpreter)
PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
WITH ?= dev
ALSO ?=
CONSTRAINTS ?=
READY := $(VENV)/.ready
BIN := $(VENV)/bin

COUNT ?= 20000
SEED ?= 0

.PHONY: demo lint test test-extras test-oldest test-pythons fuzz gpu-sweep format configs licences audit clean

demo: $(READY)
	@$(BIN)/semi demo

test: $(READY)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses=4 $(TESTS)

# Mutated files and runs, far more than the test takes: make fuzz COUNT=100000 SEED=7
fuzz: $(READY)
	@OMP_NUM_THREADS=1 $(BIN)/python tests/fuzzing.py $(COUNT) $(SEED)

# All encoders, layouts, pruning methods, fusions, losses and rules on the pretend GPU of the tests
gpu-sweep: $(READY)
	@OMP_NUM_THREADS=1 $(BIN)/python tests/gpu_sweep.py

# The tests that `make test` passes over where an optional library is missing; here a missing one
# fails. PyWavelets and moto are nobody's extras: tests compare our wavelet with the one, and the
# other is an object store on this machine; playwright and axe-playwright-python drive the browser
# tests, where a Chromium is found.
test-extras:
	@$(MAKE) --no-print-directory VENV=$(VENV)-extras TESTS='--extras $(TESTS)' \
	  WITH=dev,datasets,m4a,mlflow,onnx,opensmile,peft,ray,s3,search,serve,wandb,xlsx \
	  ALSO='PyWavelets moto[server] playwright axe-playwright-python' test

# All tests on the oldest versions that pyproject.toml allows, but for the golden runs that draw
# dropout: from the same seed torch 2.6 draws it otherwise than the torch that recorded them.
DRAWN := demo emo_ensemble lmr_cl mer2024 multi_still
GOLDEN := tests/test_golden.py::test_a_golden_run_comes_out_as_recorded
test-oldest:
	@$(MAKE) --no-print-directory VENV=$(VENV)-oldest CONSTRAINTS=constraints-oldest.txt \
	  TESTS='$(foreach run,$(DRAWN),--deselect=$(GOLDEN)[$(run)]) $(TESTS)' test

# The quick tests, three CPU minutes that meet every library, once on each Python that is found (on
# the path, of pyenv, of uv), and once with the major versions before today's. Those that are missing
# are named at the end; make test-pythons VERSIONS='3.10 3.13' asks for some alone.
VERSIONS := 3.10 3.11 3.12 3.13
QUICK := $(patsubst %,tests/test_%.py,audio cli completion config configs_yaml delimited encodings \
  estimator foreign formats_huggingface fusion golden imports ledger_file losses manifest \
  named_recipes notebook packaging predict report rules_basic speech_encoder splits store \
  strange_labels tensorboard text_encoder training wheel)
ON := $(MAKE) --no-print-directory TESTS='$(QUICK)' test
test-pythons:
	@for version in $(VERSIONS); do \
	  python=; \
	  for at in python$$version $$HOME/.pyenv/versions/$$version.*/bin/python \
	    "$$(uv python find $$version 2>/dev/null)"; do \
	    if [ -z "$$python" ] && [ "$$version" = "$$($$at -c \
	      'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" ]; then python=$$at; fi; \
	  done; \
	  if [ -z "$$python" ]; then missing="$$missing $$version"; continue; fi; \
	  echo "Python $$version: $$python"; \
	  if $(ON) VENV=$(VENV)-$$version PYTHON=$$python; then passed="$$passed $$version"; \
	  else failed="$$failed $$version"; fi; \
	  if [ "$$version" != 3.13 ]; then before=$$python; fi; \
	done; \
	if [ -n "$$before" ]; then \
	  echo "the major versions before today's (constraints-previous.txt): $$before"; \
	  if $(ON) VENV=$(VENV)-previous PYTHON=$$before CONSTRAINTS=constraints-previous.txt; \
	  then passed="$$passed previous"; else failed="$$failed previous"; fi; \
	fi; \
	echo "passed:$${passed:- none}; failed:$${failed:- none};" \
	  "not found:$${missing:- none}$${missing:+ (uv python install$$missing)}"; \
	[ -n "$$passed" ] && [ -z "$$failed" ]

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright --pythonpath $(BIN)/python

format: $(READY)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# configs/default.yaml is made from the dataclasses; a test keeps it so
configs: $(READY)
	@$(BIN)/python -m semi.config > configs/default.yaml.new
	@mv configs/default.yaml.new configs/default.yaml

# docs/licences.md is made from the metadata of what pyproject.toml asks for; a test keeps it whole
licences: $(READY)
	@$(BIN)/python docs/licences.py

# Known vulnerabilities of what is installed here. It asks an advisory service: AUDIT_ARGS='-s osv' asks another one than the registry's.
AUDIT_ARGS ?=
audit: $(READY)
	@$(BIN)/python -m venv $(VENV)-audit
	@$(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) pip-audit
	@$(BIN)/python -m pip freeze --exclude-editable | sed 's/+[a-z0-9.]*$$//' > $(VENV)-audit/here.txt
	@$(VENV)-audit/bin/pip-audit --strict --disable-pip --no-deps $(AUDIT_ARGS) -r $(VENV)-audit/here.txt

# The environment is made once and again when pyproject.toml changes. The first interpreter of
# 3.10 - 3.13 is taken: $(PYTHON), else python3.13 ... python3.10.
$(READY): pyproject.toml $(CONSTRAINTS)
	@set -e; \
	for python in $(PYTHON) python3.13 python3.12 python3.11 python3.10; do \
	  if $$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' \
	    2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "semi needs Python 3.10 to 3.13, and $(PYTHON) is" \
	    "$$($(PYTHON) --version 2>&1 || echo missing); install one, then:" \
	    "make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; \
	fi; \
	if [ ! -x $(BIN)/python ]; then \
	  $$found -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); \
	    echo "$$found has no venv module (or no ensurepip): install it, on Debian and Ubuntu" \
	      "with: apt install python3-venv" >&2; exit 1; }; \
	fi; \
	echo "making the environment in $(VENV) (once, about a minute, 1.5 GB)" >&2; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  $(PIP_ARGS) $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) -e '.[$(WITH)]' $(ALSO) || { \
	  echo "the packages could not be installed, see above; with a proxy or a mirror:" \
	    "make $(MAKECMDGOALS) PIP_ARGS='--index-url URL'" >&2; exit 1; }; \
	touch $(READY)

.PHONY: docs
docs: $(VENV)/.docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/docs/index.html; with search: $(BIN)/python -m http.server -d build/docs"

$(VENV)/.docs: $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -e '.[docs]' || { \
	  echo "the packages could not be installed, see above; with a proxy or a mirror:" \
	    "make docs PIP_ARGS='--index-url URL'" >&2; exit 1; }
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-audit $(VENV)-extras $(VENV)-oldest $(VENV)-previous $(VERSIONS:%=$(VENV)-%) build *.egg-info .pytest_cache .ruff_cache
