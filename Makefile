# Every target is a thin caller of a script in ci/, so that a laptop, a newcomer and CI run the same thing.
.DEFAULT_GOAL := help
.PHONY: help demo test bench agreement conformance zero-copy lint fuzz lab train evaluate evaluate-day detection-time inline

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

demo: ## install what is missing, build, and watch real attackers raise their alerts (DEMO_SECONDS=N ends it)
	@ci/demo.sh

test: ## install what is missing and run every test
	@ci/install-packages.sh test
	@ci/get-onnxruntime.sh >/dev/null
	@ci/python.sh
	@ci/test.sh

bench: ## the engine's table: time, instructions and allocations a packet; writes target/bench/engine.json
	@ci/install-packages.sh test
	@ci/get-onnxruntime.sh >/dev/null
	@ci/bench.sh

agreement: ## compare with nDPI's results beside ../shared/data, and with tshark's fields; writes target/agreement/*.json
	@cargo test --locked --quiet --test agreement --test tshark_fields -- --nocapture

conformance: ## compare with what the tests of tcpdump and Suricata expect of their captures; writes target/conformance/*.json
	@cargo test --locked --quiet --test conformance -- --nocapture

zero-copy: ## boot an emulated NIC and prove true zero-copy on it; writes target/zero-copy/summary.json
	@ci/zero-copy.sh

lint: ## formatting, clippy and documentation, warnings denied
	@ci/fmt.sh
	@ci/clippy.sh
	@ci/docs.sh

fuzz: ## run every fuzz target for a while (FUZZ_SECONDS=N each)
	@ci/fuzz.sh

lab: ## labelled captures of real programs in namespaces; LAB_SECONDS, LAB_RECORDINGS, LAB_SEED, LAB_OUT; LAB_CHECK=1 tries all, LAB_CLIENTS=740 honest hosts
	@ci/lab.sh

train: ## train the models on recordings of `make lab` (RECORDINGS="DIRECTORY..."); stopped and run again it goes on
	@models/train.sh $(RECORDINGS)

evaluate: ## what detection is worth on attacks that models never saw; LAB_OUT, TRAIN_WORK; writes target/evaluate/summary.json
	@ci/evaluate.sh

evaluate-day: ## a day of a million flows that grows slowly, attacked in its quietest hour; LAB_OUT; writes target/evaluate/day.json
	@ci/evaluate-day.sh

detection-time: ## from the packet that suffices to the alert that can be read, live; needs root; writes target/detection-time.json
	@python3 perf/detection-time/measure.py --out target/detection-time.json

inline: ## a pair under kill -9, SIGSTOP, restarts, overload, attacks: gaps, losses, latency; needs root; writes target/inline
	@ci/inline.sh $(INLINE)
