# Thin on purpose: what a target does is in `cargo xtask` or in the program itself.

RELEASE = $(or $(CARGO_TARGET_DIR),target)/release
VALKEEPER = $(RELEASE)/valkeeper
STATE = --state-dir .demo

.PHONY: bench-kubernetes demo demo-kubernetes test test-all test-long bench fmt

# One build for both: they share most crates, and a fresh clone should not build those twice.
demo:
	cargo build --release -p valkeeper -p xtask
	$(RELEASE)/xtask servers --only valkey-9.1.2
	$(VALKEEPER) up examples/cluster.yaml --detach $(STATE)
	$(VALKEEPER) status $(STATE)
	$(VALKEEPER) connect $(STATE)
	@echo
	@echo "The cluster runs; its data and log are in .demo/."
	@echo "  look:            $(VALKEEPER) status --watch $(STATE)"
	@echo "  talk to it:      $(VALKEEPER) cli $(STATE) -- SET greeting hello"
	@echo "  stop, keep data: $(VALKEEPER) down $(STATE)"
	@echo "  erase:           $(VALKEEPER) delete --purge $(STATE)"

demo-kubernetes:
	cargo xtask bed -- testkit/bed/demo.sh examples/kubernetes.yaml

test:
	cargo xtask test

test-all:
	cargo xtask test --all

test-long:
	cargo xtask test --long

bench:
	cargo xtask servers
	cargo build --release -p valkeeper -p valkeeper-bench
	$(RELEASE)/valkeeper-bench

bench-kubernetes:
	cargo build --release -p valkeeper-bench
	cargo xtask bed 3 --volumes 90 -- $(RELEASE)/valkeeper-bench kubernetes

fmt:
	cargo fmt --all
