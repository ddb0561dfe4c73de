# `make help` lists the targets.
PYTHON  ?= python3
VENV    ?= .venv
BIN     := $(VENV)/bin
CONFIG  ?= configs/demo.yaml
NODES   ?= 1
MINUTES ?= 10
READY   := $(VENV)/.ready
ARCHIVE := $(VENV)/share/embedshift/spark-classes.jsa
# One more than this machine's cores: tests wait now and then, for a lease to run out for instance.
PROCESSES ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)
export HF_HUB_OFFLINE ?= 1
# What `make test` runs: everything except tests that need ScyllaDB or take long by nature.
TESTS   := not scylla and not matrix and not long
# Random tests draw the same values in every run of `make test`; pytest without this draws others each time.
export EMBEDSHIFT_SEED ?= 7

.DEFAULT_GOAL := help
.PHONY: help install demo test check archive browser lint types layers unit lock clean cassandra cassandra-stop demo-cassandra \
        embedding-server embedding-server-stop \
        test-long matrix soak bench bench-quick reference docs record dist

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 20
	@printf '\n  steps take CONFIG=FILE, and more options in ARGS: make upgrade CONFIG=my.yaml ARGS="--to-model NAME"\n'

$(READY): requirements.lock pyproject.toml
	$(PYTHON) scripts/install.py $(VENV)
	@touch $@

install: $(READY)  ## create the virtual environment from the lock file

demo: $(READY)  ## import 216 articles, migrate them to a better model, search before and after
	$(BIN)/python scripts/demo.py --config configs/demo.yaml

test: check  ## lint, types, layering and all tests

check: $(READY)  ## what CI runs
	$(MAKE) -j 2 --output-sync=target archive browser lint types layers
	$(BIN)/python -m pytest -m '$(TESTS) and not alone' -n $(PROCESSES) --dist loadfile --no-loadscope-reorder --durations=60 --durations-min=5
	$(BIN)/python -m pytest -m '$(TESTS) and alone' --durations=10 --durations-min=5

archive: $(ARCHIVE)  ## write down which classes Spark loads: its JVM starts in half the time

$(ARCHIVE): $(READY)
	-$(BIN)/python -m embedshift.spark.class_archive

browser: $(READY)  ## find or install the browser for the tests of the report
	$(BIN)/python scripts/browser.py

lint: $(READY)  ## style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## strict type checks
	$(BIN)/mypy

layers: $(READY)  ## check which package may import which
	$(BIN)/lint-imports

unit: $(READY)  ## only the quick tests
	$(BIN)/python -m pytest tests/unit tests/contract -q

STEPS := upgrade migrate prepare load index sync validate cutover rollback retire abort status pause resume throttle report shadow audit reindex
.PHONY: $(STEPS)

upgrade:   ## step: bring the alias to a model; safe to repeat, for schedulers
migrate:   ## step: prepare to cutover in order, from where an earlier run stopped
prepare:   ## step: check source, model and settings; create the versioned target
load:      ## step: embed every row with the new model, write it into the target
index:     ## step: build the target's vector index
sync:      ## step: repair what differs between the two tables
validate:  ## step: prove completeness, recall and relevance
cutover:   ## step: move the alias
rollback:  ## step: copy back what was written since, then move the alias back
retire:    ## step: drop the old table after the grace time (ARGS=--yes)
abort:     ## step: abort a migration before cutover and drop its target table (ARGS=--yes)
status:    ## step: what is live, what is running, how far it is
pause:     ## step: stop a running load or sync within seconds
resume:    ## step: let it continue
throttle:  ## step: limit its speed (ARGS="--rows-per-second 500")
report:    ## step: the last validation as a page
shadow:    ## step: send questions to both tables (ARGS="--questions FILE")
audit:     ## step: count rows without a good vector
reindex:   ## step: change the live table's index options in place (ARGS="--in-place --yes")

$(STEPS): $(READY)
	$(BIN)/embedshift $@ --config $(CONFIG) $(ARGS)

cassandra: $(READY)  ## start Apache Cassandra 5 here (NODES=1 or 3)
	$(BIN)/python scripts/run_cassandra.py start --nodes $(NODES)

cassandra-stop: $(READY)  ## stop these nodes
	$(BIN)/python scripts/run_cassandra.py stop

embedding-server: $(READY)  ## start a real embedding service here (Infinity with MiniLM, port 7997)
	$(BIN)/python scripts/embedding_server.py start

embedding-server-stop: $(READY)  ## stop it
	$(BIN)/python scripts/embedding_server.py stop

demo-cassandra: $(READY) cassandra  ## the demo on that Cassandra
	$(BIN)/python scripts/demo.py --config configs/demo-cassandra.yaml

test-long: $(READY)  ## what takes long, in parts of half an hour: PART=histories (scripts/long_tests.py --list)
	$(BIN)/python scripts/long_tests.py $(PART)

matrix: $(READY)  ## every fault on three Cassandra nodes, with a table of the effects on rows (a quarter of an hour)
	$(BIN)/python -m pytest tests/reliability -m 'matrix or not matrix' -s

soak: $(READY)  ## migrations with faults while applications write: MINUTES=10, NODES=1 or 3, SEED=N to repeat
	$(BIN)/python scripts/soak.py --minutes $(MINUTES) --nodes $(NODES) $(if $(SEED),--seed $(SEED))

bench: $(READY)  ## compare embedshift with the bare libraries, with charts (20 minutes; use the machine for nothing else)
	$(BIN)/python -m benchmarks

bench-quick: $(READY)  ## the same in two minutes, less precise
	$(BIN)/python -m benchmarks --quick

reference: $(READY)  ## write docs/reference and its pictures from the code
	$(BIN)/python scripts/reference.py
	$(BIN)/python scripts/invariants.py
	$(BIN)/python -m scripts.pictures

docs: $(READY)  ## build the documentation into site/; a warning is an error
	$(BIN)/python -m mkdocs build --strict

record: $(READY)  ## run the demo and draw its terminal for the README
	$(BIN)/python scripts/record.py

lock: $(READY)  ## resolve the dependencies again into requirements.lock
	$(PYTHON) scripts/install.py --lock $(VENV)

dist: $(READY)  ## build a wheel, and the same as an archive for spark-submit --py-files
	$(BIN)/python scripts/dist.py

clean:  ## remove build files and the demo's files; the virtual environment stays
	rm -rf .embedshift build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
