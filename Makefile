# `make` alone lists the targets.

CARGO ?= cargo
NODE ?= node
NPM ?= npm

.DEFAULT_GOAL := help
.PHONY: help test test-faults test-browser test-examples demo lint bench ci full-bench full-service full-sample full-oracle full-readwrite full-fuzz full-retail full-merges full-caps full-coherence full-replicas full-overload full-faults

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Rehearsals of faults: processes that are killed, stopped and cut off under load.
FAULTS := replicas::coherence:: replicas::failover:: replicas::kills:: replicas::outage:: replicas::replies:: replicas::rolling::

test: ## run every test but rehearsals of faults, with a redis-server that is installed when there is none
	.ci/redis-server
	$(CARGO) test --locked --all -- $(addprefix --skip ,$(FAULTS))

test-faults: ## rehearse faults of Redis and of replicas under load, in short, one after the other
	.ci/redis-server
	$(CARGO) test --locked --test it -- --test-threads=1 $(FAULTS)

test-browser: ## try rapport.js in a real Chromium, which is installed when there is none
	tests/browser/chromium
	cd tests/browser && $(NPM) ci --no-audit --no-fund --loglevel=error
	$(CARGO) build --locked
	cd tests/browser && $(NODE) --test --test-concurrency=1

test-examples: ## run the examples for a web server and for Python against the service
	$(CARGO) build --locked
	python3 -m venv target/examples-venv
	target/examples-venv/bin/pip install --quiet --requirement examples/python/requirements.txt
	$(NODE) --test examples/node/page.test.mjs
	target/examples-venv/bin/python -m unittest discover --start-directory examples/python --verbose

demo: ## import the sample, decide for real customers, serve
	$(CARGO) run --locked --release -- demo

lint: ## format, lints, licences, wire contract, rules
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	.ci/licences
	.ci/protos
	$(CARGO) run --locked --quiet -- check rules

bench: ## run the benchmarks in short
	$(CARGO) bench --locked --bench decide
	$(CARGO) bench --locked --bench rules -- --quick
	$(CARGO) bench --locked --bench service -- paired --cycles 12 --seconds 2

ci: ## what every change must pass
	.ci/run

full-bench: ## benchmark the pipeline, the rules and their loading, built as for a package
	$(CARGO) bench --locked --profile dist --bench decide
	$(CARGO) bench --locked --profile dist --bench profile
	$(CARGO) bench --locked --profile dist --bench profile -- million
	$(CARGO) bench --locked --profile dist --features compare --bench rules
	$(CARGO) bench --locked --profile dist --bench load -- 10000 5

full-service: ## measure the service against an echo, every run of benches/README.md
	$(CARGO) bench --locked --profile dist --bench service -- control
	$(CARGO) bench --locked --profile dist --bench service -- paired
	$(CARGO) bench --locked --profile dist --bench service -- open
	$(CARGO) bench --locked --profile dist --bench service -- connections --pin none
	$(CARGO) bench --locked --profile dist --bench service -- layouts --pin none
	$(CARGO) bench --locked --profile dist --bench service -- scrape
	$(CARGO) bench --locked --profile dist --bench service -- rss --seconds 600
	$(CARGO) bench --locked --profile dist --bench service -- ingest
	$(CARGO) bench --locked --profile dist --bench service -- batch --questions 1000000
	$(CARGO) bench --locked --profile dist --bench service -- batch --questions 1000000 --option=--present

full-sample: ## build the sample again: make full-sample FROM=online_retail.parquet
	python3 examples/retail/build.py $(FROM)

full-retail: ## analyse and import every row of Online Retail, compare with the recorded reference and the slow way
	$(CARGO) test --locked --release --test it analyze::
	RETAIL_EVERY=1 $(CARGO) test --locked --release --test it retail:: -- --nocapture

full-oracle: ## compare a million evaluations of conditions with the cel interpreter
	ORACLE_EVALUATIONS=1000000 $(CARGO) test --locked --release --lib agree_with_the_reference -- --nocapture

full-readwrite: ## 100,000 pairs of a write and a decision that must know it
	READ_WRITE_PAIRS=100000 $(CARGO) test --locked --release --test it every_decision_knows -- --nocapture

full-fuzz: ## fuzz rule text and rule files for ten minutes each; needs nightly and cargo-fuzz
	cd fuzz && cargo +nightly fuzz run text -- -max_total_time=600 -timeout=1
	cd fuzz && cargo +nightly fuzz run files -- -max_total_time=600 -timeout=1

full-coherence: ## write on one replica and decide on another, 100,000 times
	.ci/redis-server
	COHERENCE_PAIRS=100000 $(CARGO) test --locked --test it coherence::what_one_writes -- --nocapture

full-caps: ## claim 1,000,000 times over three replicas, kill replicas 20 times, measure what a cap costs
	.ci/redis-server
	CAPS_CLAIMS=1000000 $(CARGO) test --locked --release --test it caps:: -- --nocapture --test-threads=1
	CAPS_KILLS=20 $(CARGO) test --locked --release --test it caps::kills -- --nocapture
	$(CARGO) bench --locked --profile dist --bench caps

full-replicas: ## 10,000 pairs of a write on one replica and a decision on another, what replicas share, all that one tells the others
	.ci/redis-server
	COHERENCE_PAIRS=10000 $(CARGO) test --locked --release --test it coherence::what_one_writes -- --nocapture
	$(CARGO) test --locked --release --test it shared:: -- --test-threads=1
	FAULTS_FULL=1 $(CARGO) test --locked --release --test it replicas::coherence -- --nocapture --test-threads=1

full-overload: ## ten times what can be answered of heavy decisions, three times of ordinary ones, a minute each
	$(CARGO) test --locked --release --lib admission::
	$(CARGO) test --locked --release --test it overload:: -- --nocapture --test-threads=1
	$(CARGO) bench --locked --profile dist --bench service -- overload --heavy --offers 600 --seconds 60
	$(CARGO) bench --locked --profile dist --bench service -- overload --seconds 60

full-faults: ## kill replicas and Redis 100 times each, cut the power 200 times, take Redis away for a minute, and more
	.ci/redis-server
	FAULTS_FULL=1 $(CARGO) test --locked --release --test it replicas:: -- --nocapture --test-threads=1

full-merges: ## hold 10,000 random merges of customers against a model
	RANDOM_MERGES=10000 $(CARGO) test --locked --lib random_merges
