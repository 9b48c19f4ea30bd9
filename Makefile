# make demo | test | lint | bench: each makes .venv, installs what it needs and runs.
PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
EXTRAS = mesh,dicom,viewer
TEST_EXTRAS = $(EXTRAS),pacs,gui,browser,test

.PHONY: demo test lint bench clean
.DEFAULT_GOAL := test

demo: $(RUN)
	$(RUN) tools/install.py --extras $(EXTRAS)
	$(RUN) -m DSAReconLib demo --out demo

test: $(RUN)
	$(RUN) tools/install.py --extras $(TEST_EXTRAS)
	$(RUN) -m pytest

lint: $(RUN)
	$(RUN) tools/install.py --extras lint --torch no
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/codespell

bench: $(RUN)
	$(RUN) tools/install.py --extras $(EXTRAS),rtk,test
	$(RUN) Testing/benchmarks/bench_projectors.py

$(RUN):
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10) and 'Python 3.10 or newer is needed; say which with PYTHON=...')"
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) demo
