# SPDX-License-Identifier: Apache-2.0
# make demo         both steps on the sample photos with the embedded annotator, then the report
# make test         style, types and tests
# make test-faults  kills, outages, odd bytes, every row of references/reliability.md, for real
# make test-extras  tests of what takes long to install: buckets, Ray, the bundle's own environment
# make reliability  the table of references/reliability.md, from the rows
# make clean        remove the environment and the demo's results

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
DEMO := demo_results

.PHONY: demo test test-faults test-extras reliability clean

demo: $(VENV)/demo-ready
	$(BIN)/python scripts/run_pipeline.py -e specs/local.yaml results_dir=$(DEMO) \
	    data.input_jsonl=assets/captions.jsonl data.image_root=assets --table 20 >/dev/null
	$(BIN)/python scripts/inspect.py $(DEMO) >/dev/null
	@echo "records: $(DEMO)/annotations.jsonl"
	@echo "report:  $(DEMO)/report/index.html (open it in a browser)"

test: $(VENV)/test-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist worksteal

test-faults: $(VENV)/test-ready
	$(BIN)/python -m pytest -n auto --dist worksteal tests/faults

test-extras: $(VENV)/extras-ready
	$(BIN)/python -m pytest tests/extras

reliability: $(VENV)/test-ready
	PYTHONPATH=tests $(BIN)/python -m faults.document

$(VENV)/demo-ready: $(VENV)/made
	$(PIP) -e '.[local]'
	@touch $@

$(VENV)/test-ready: $(VENV)/made
	$(PIP) -e '.[local,parquet,plots,dev]'
	@touch $@

$(VENV)/extras-ready: $(VENV)/test-ready
	$(PIP) -e '.[s3,ray,test-extras]'
	@touch $@

$(VENV)/made: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or later is needed: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

clean:
	rm -rf $(VENV) $(DEMO)
