# make book: everything, from a fresh clone to _build/html/index.html. Every target can be interrupted and
# given again. The same without make: see the README.

# The first that fits. Results are recorded with 3.11; another one changes their last bits at most.
FITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(or $(shell for one in python3.11 python3.12 python3.13 python3; do \
  $$one -c '$(FITS)' 2> /dev/null && echo $$one && break; done),python3)
VENV ?= .venv
PY := $(VENV)/bin/python
PORT ?= 8000
NOTHING = not run: nothing is there yet. make book makes everything, make preview a first look in minutes
export PYTHONUNBUFFERED = 1

.PHONY: help book preview pdf run record status gate data chapter lab test look lint serve clean
.DEFAULT_GOAL := help

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

book: $(VENV)/.installed data  ## run the chapters at full scale, build and check the book
	$(PY) -m book build

preview: $(VENV)/.installed data  ## the same at reduced scale, in _build/preview/html
	$(PY) -m book build --preview

pdf: $(VENV)/.installed data  ## the whole book as _build/book.pdf; needs Debian's TeX
	$(PY) -m book pdf

run: $(VENV)/.installed data  ## run the chapters that are not current, build nothing
	$(PY) -m book run

record: $(VENV)/.installed  ## accept the verdicts and timings of the last full-scale run
	$(PY) -m book record

status:  ## which chapters are current
	@if test -e $(VENV)/.installed; then $(PY) -m book status; else echo '$(NOTHING)'; fi

gate: $(VENV)/.installed  ## judge the built book again
	$(PY) -m book gate

data: $(VENV)/.installed  ## fetch the data and check it
	$(PY) -m book data fetch

chapter: $(VENV)/.installed  ## make a new chapter from the template: make chapter NAME=wide_nets
	$(PY) -m book new $(NAME)

lab: $(VENV)/.installed-lab data  ## open the notebooks in JupyterLab
	$(PY) -m jupyterlab

test: $(VENV)/.installed-test data  ## run the tests, on up to four cores
	$(PY) -m pytest -n logical --maxprocesses 4

look: $(VENV)/.installed-test  ## look at the built book with a browser that has no window
	$(PY) -m pytest -n logical --maxprocesses 4 tests/book/test_pages.py --book $(or $(BOOK),_build/html)

lint: $(VENV)/.installed-test  ## check code, who imports whom, notebooks, prose, workflows and citation file
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/lint-imports --no-logo --no-cache
	$(PY) -m book.prose
	$(VENV)/bin/zizmor --offline --no-progress --persona=pedantic .github/workflows
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(VENV)/bin/check-jsonschema --builtin-schema custom.github-workflows-require-timeout .github/workflows/*.yml
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

serve:  ## show the built book, or its preview, at http://localhost:8000
	@if test -e $(VENV)/.installed; then $(PY) -m book serve --port $(PORT) $(BOOK); else echo '$(NOTHING)'; exit 1; fi

clean:  ## remove what was built and executed; the environment and the data stay
	rm -rf _build

# A mark is written last, so an installation cut short is made again. Where no Python fits, uv gets one.
$(VENV)/.installed: requirements.txt constraints.txt pyproject.toml
	@if $(PY) -m pip --version > /dev/null 2>&1; then :; \
	elif $(PYTHON) -c '$(FITS)' 2> /dev/null; then $(PYTHON) -m venv --clear $(VENV); \
	elif [ $(origin PYTHON) = file ] && command -v uv > /dev/null; then uv venv --clear --seed --python 3.11 $(VENV); \
	else echo "Python 3.11 to 3.13 with its module venv is wanted, $(PYTHON) is not: install one (Debian: python3-venv)" \
	  "or uv (docs.astral.sh/uv), or name one that you have: make PYTHON=python3.12 ..." >&2; exit 1; fi
	$(PY) -m pip install --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed requirements-test.txt requirements-cluster.txt requirements-lab.txt
	$(PY) -m pip install --disable-pip-version-check -r requirements-test.txt
	@touch $@

$(VENV)/.installed-lab: $(VENV)/.installed requirements-lab.txt
	$(PY) -m pip install --disable-pip-version-check -r requirements-lab.txt
	@touch $@
