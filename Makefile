# `make demo` and `make test` need Python 3.11 or newer and nothing else; both set up .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
READY := $(VENV)/.ready
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check

# make hands a PATH of its command line on to all programs: take it as an ordinary variable, and give them their own.
ifeq ($(origin PATH),command line)
SUITE := $(PATH)
override PATH := $(shell /bin/sed --null-data --quiet 's/^PATH=//p' /proc/$$PPID/environ | /usr/bin/tr -d '\0')
endif

.PHONY: help setup demo test weekly lint format bench bench-quick scale man docs pictures cache-tests chaos soak fuzz clean
.PHONY: lock wheel sdist deb pyz image release

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

setup: $(READY)  ## make .venv with the project and its tools

$(INSTALLED): pyproject.toml
	@echo 'Setting up $(VENV), once. Step 1 of 2: an environment for Python ...'
	@$(PYTHON) -m venv $(VENV)
	@echo 'Step 2 of 2: trio-lb and its libraries ...'
	@$(INSTALL) --no-compile --editable .
	@touch $@

$(READY): $(INSTALLED)
	@echo 'Installing the tools for tests and development ...'
	@$(INSTALL) --editable '.[dev]'
	@touch $@

demo: $(INSTALLED)  ## three backends, a balancer, a load, a live view (ARGS="--seconds 8")
	@$(BIN)/lb demo $(ARGS)

test: $(READY)  ## all tests, four at a time as most of them wait (ARGS="-k name")
	$(BIN)/python -m pytest --numprocesses 4 --dist worksteal $(ARGS)

weekly: $(READY)  ## all tests in their long form, and what takes minutes: packages and an image, built and installed
	HYPOTHESIS_PROFILE=deep $(BIN)/python -m pytest --numprocesses 4 --dist worksteal $(ARGS)

lint: $(READY)  ## ruff, mypy --strict, the import-direction test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/test_architecture.py

format: $(READY)  ## let ruff rewrite the files
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)  ## beside HAProxy and nginx stream, into bench/results (ARGS="--only NAME --rounds N")
	$(BIN)/python bench/run.py $(ARGS)
	$(BIN)/python bench/micro.py

bench-quick: $(READY)  ## the same in a minute, printed only
	$(BIN)/python bench/run.py --quick $(ARGS)

scale: $(READY)  ## simulate many balancers, and put the figures into docs (ARGS="--quick": print a small form)
	$(BIN)/python bench/scale.py $(ARGS)
	$(BIN)/python bench/reach.py --write

pictures: $(READY)  ## the pictures of the documentation, of real runs in chromium, into docs/images; takes four minutes
	$(BIN)/python -m tests.support.pictures

cache-tests: $(READY)  ## the public suite http-tests/cache-tests (PATH=its checkout, ARGS="--id NAME --proxy nginx")
	$(BIN)/python -m tests.support.cache_suite "$(SUITE)" $(ARGS)

chaos: $(READY)  ## five minutes of failures under load (ARGS="--seed N --seconds N")
	$(BIN)/python -m chaos $(ARGS)

soak: $(READY)  ## 100,000 connections, 100,000 requests, and nothing that grows (ARGS="--connections N --workers N")
	$(BIN)/python -m chaos.soak $(ARGS)
	$(BIN)/python -m chaos.soak --http $(ARGS)

fuzz: $(READY)  ## the configuration under guided fuzzing, then mutated HTTP, a minute each (ARGS="-max_total_time=600")
	$(BIN)/pip install --quiet --disable-pip-version-check atheris
	$(BIN)/python -m tests.support.fuzz_config -max_total_time=60 $(ARGS)
	$(BIN)/python -m chaos.http_fuzz --seconds 60

man: $(INSTALLED)  ## the man pages, into build/man
	@$(BIN)/lb help --write build/man

docs: $(INSTALLED)  ## the site of the documentation, into build/site; strict: a link that leads nowhere is an error
	@$(BIN)/python -c 'import furo, myst_parser, sphinx' 2>/dev/null || $(INSTALL) --editable '.[docs]'
	@$(BIN)/python docs/site/build.py
	@echo 'Open build/site/index.html'

# What is released, into DIST. The version stands in lb/__init__.py alone; the time of all files is that of the last commit.
VERSION = $(shell sed --quiet 's/^__version__ = "\(.*\)"/\1/p' lb/__init__.py)
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct)
DIST := dist
LOCK := $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header

lock: $(READY)  ## renew the locks: what packages and the image bring along
	$(LOCK) --extra packaged --output-file requirements.lock pyproject.toml
	$(LOCK) --extra packaged --extra media --constraint requirements.lock --output-file requirements-media.lock pyproject.toml
	$(LOCK) --output-file release/build.lock release/build.in

wheel: $(READY)  ## the wheel, into dist
	$(BIN)/hatchling build --directory $(DIST) --target wheel

sdist: $(READY)  ## the source distribution
	$(BIN)/hatchling build --directory $(DIST) --target sdist

deb: sdist  ## the Debian package
	release/deb/build $(DIST)/trio_lb-$(VERSION).tar.gz $(DIST)

pyz: $(READY)  ## one file that runs where the same version of Python is, and the list of what it is made of (SBOM)
	rm -rf build/venv && release/venv build/venv && mkdir -p $(DIST)
	SHIV=$(BIN)/shiv release/pyz build/venv/lib/python*/site-packages $(DIST)/trio-lb-$(VERSION).pyz
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	--output-file $(DIST)/trio-lb-$(VERSION).cdx.json build/venv/bin/python3

image:  ## an image, by buildah (BASE=the image to build on)
	mkdir -p $(DIST) build && rm -f build/image.tar
	buildah build --format docker --timestamp $(SOURCE_DATE_EPOCH) --build-arg SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) \
	$(if $(BASE),--build-arg BASE=$(BASE)) --tag trio-lb:$(VERSION) --file Containerfile .
	buildah push trio-lb:$(VERSION) docker-archive:build/image.tar:trio-lb:$(VERSION)
	$(PYTHON) release/image/archive.py build/image.tar $(DIST)/trio-lb-$(VERSION)-image.tar && rm build/image.tar

release:  ## all of these, with SHA-256 sums
	rm -rf $(DIST)
	$(MAKE) wheel deb pyz image
	cd $(DIST) && sha256sum * > SHA256SUMS

clean:  ## remove .venv, caches, and what was built
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
