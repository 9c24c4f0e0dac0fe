# Thin on purpose: what a target does is in `cargo xtask` or in the program itself.

VALKEEPER = $(or $(CARGO_TARGET_DIR),target)/release/valkeeper
STATE = --state-dir .demo

.PHONY: demo test test-all bench fmt

demo:
	cargo xtask servers --only valkey-9.1.2
	cargo build --release -p valkeeper
	$(VALKEEPER) up examples/cluster.yaml --detach $(STATE)
	$(VALKEEPER) status $(STATE)
	$(VALKEEPER) connect $(STATE)
	@echo
	@echo "The cluster runs; its data and log are in .demo/."
	@echo "  look:            $(VALKEEPER) status --watch $(STATE)"
	@echo "  talk to it:      $(VALKEEPER) cli $(STATE) -- SET greeting hello"
	@echo "  stop, keep data: $(VALKEEPER) down $(STATE)"
	@echo "  erase:           $(VALKEEPER) delete --purge $(STATE)"

test:
	cargo xtask test

test-all:
	cargo xtask test --all

bench:
	cargo xtask servers
	cargo build --release -p valkeeper
	cargo run --release -p valkeeper-bench

fmt:
	cargo fmt --all
