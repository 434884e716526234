# The ways into this project; `make help` lists them. Every cargo call is --locked: Cargo.lock decides.
# BLOCKING_MODULE names another module to test, BLOCKING_SERVER_BIN another server to test it on.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup build demo run unit e2e timers test fuzz valgrind lint clean

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
LIBRARY_SUFFIX := $(if $(filter Darwin,$(shell uname -s)),dylib,so)
BLOCKING_MODULE ?= $(abspath $(TARGET_DIR)/release/libblocking_cleanup.$(LIBRARY_SUFFIX))
export BLOCKING_MODULE

# Port of `make run`; 0 takes a free one.
PORT ?= 0
# Seconds that `make fuzz` gives each target.
SECONDS ?= 60
# What `make valgrind` runs: names of tests begin so. Commands, settings, permissions and the moving ground; what is left
# out loads so many keys that valgrind would take hours.
WATCHED ?= arguments:: settings:: acl:: ground:: propagation::observers
# Options of `make demo`, for example DEMO="--stale 100000 --foreign 3000000".
DEMO ?=

help: ## Lists what there is
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Installs what is missing (Debian): a server, redis-cli, libclang, C headers
	@scripts/setup.sh

build: ## Builds the module: target/release/libblocking_cleanup.so
	$(CARGO) build --locked --release --package blocking-cleanup

demo: setup build ## Removes 9,900 dead coordinators from a private server and checks every claim
	$(CARGO) build --locked --package blocking-harness --bin demo
	@$(CARGO) run --locked --quiet --package blocking-harness --bin demo -- $(DEMO)

run: setup build ## Runs a private server with the module until Ctrl-C; PORT=6400 for a given port
	$(CARGO) build --locked --package blocking-harness --bin serve
	@$(CARGO) run --locked --quiet --package blocking-harness --bin serve -- --port $(PORT)

unit: ## Tests without a server, in a build that checks overflow
	$(CARGO) test --locked --workspace --lib --bins

e2e: build ## Tests on real servers that they start and stop themselves
	$(CARGO) test --locked --workspace --test '*'

timers: ## The same for a build without timerfd, as on macOS: scenarios and moving ground
	$(CARGO) build --locked --release --package blocking-cleanup --features timers-only --target-dir $(TARGET_DIR)/timers-only
	BLOCKING_MODULE=$(abspath $(TARGET_DIR)/timers-only/release/libblocking_cleanup.$(LIBRARY_SUFFIX)) \
	  $(CARGO) test --locked --test e2e -- scenarios:: ground::

test: setup build unit e2e timers ## All tests

fuzz: ## Fuzzes the parsers, the key matcher and the plan; SECONDS=600 for ten minutes each
	@scripts/setup.sh fuzz
	@scripts/fuzz.sh $(SECONDS)

valgrind: build ## Tests on servers that valgrind watches: no invalid access, nothing lost
	@scripts/setup.sh valgrind
	@scripts/valgrind.sh $(WATCHED)

lint: ## Formatting and clippy, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@if command -v shellcheck >/dev/null; then shellcheck scripts/*.sh .ci/run; fi

clean: ## Removes what was built
	$(CARGO) clean
