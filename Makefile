# The ways into this project; `make help` lists them. Every cargo call is --locked: Cargo.lock decides.
# BLOCKING_MODULE names another module to test, BLOCKING_CLI another client, BLOCKING_SERVER_BIN another server than the
# system's to test them on.

# e2e timing -> e2e,timing
comma := ,
empty :=
list = $(subst $(empty) $(empty),$(comma),$(strip $(1)))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup setup-build setup-lint setup-deny servers build cli cli-debug demo run unit harness e2e cli-tests matrix timers contrib \
  clients migrate test soak fuzz valgrind reliability bench bench-full plots profile lint lint-files deny advisories images-check package package-check \
  package-test arm64-check checksums clean

CARGO ?= cargo
export CARGO
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
LIBRARY_SUFFIX := $(if $(filter Darwin,$(shell uname -s)),dylib,so)
BLOCKING_MODULE ?= $(abspath $(TARGET_DIR)/release/libblocking_cleanup.$(LIBRARY_SUFFIX))
export BLOCKING_MODULE
BLOCKING_CLI ?= $(abspath $(TARGET_DIR)/debug/blocking-cleanup)
export BLOCKING_CLI

# The suites that run on every server. Those of the second line mostly wait, and do it on all servers at the same time.
SUITES ?= e2e cli keyspaces timing bench
SUITES_AT_ONCE ?= fleet
# REQUIRE_ALL=1: a server that `make servers` cannot bring is an error.
REQUIRE_ALL ?=
# Part of a test's name: `make matrix` then runs these tests only, for example TESTS=settings::
TESTS ?=

# Port of `make run`; 0 takes a free one.
PORT ?= 0
# Tests mostly wait, so there are more of them at a time than processors. Suites that measure take turns by themselves.
RUST_TEST_THREADS ?= 4
# What `make timers` runs: whatever has to do with being woken up.
TIMED ?= scenarios:: environment::pauses:: environment::flushes:: environment::callers:: environment::lingering:: environment::unload::
# How long: `make fuzz` for each target, 60 unless given; `make soak` in all, HOURS unless given. SEED repeats the
# choices of an earlier soak.
SECONDS ?=
HOURS ?= 1
SEED ?=
# What `make valgrind` runs: names of tests begin so. Every command and setting, and a run that is cut short in every
# way; what is left out loads so many keys that valgrind would take hours.
WATCHED ?= scenarios:: arguments:: settings:: acl::selectors environment::callers environment::flushes environment::unload \
  propagation::observers
# What the tests count is written here for `make reliability`.
EVIDENCE := $(abspath $(TARGET_DIR)/evidence.jsonl)
# Options of `make demo`, for example DEMO="--stale 100000 --foreign 3000000".
DEMO ?=
# Options of `make bench`, for example BENCH="--servers system --workloads classic"; bench/src/options.rs has them all.
BENCH ?=

help: ## Lists what there is
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Installs what is missing (Debian): a server, redis-cli, libclang, C headers
	@scripts/setup.sh

setup-build: ## Installs only what building needs: libclang, a linker, C headers
	@scripts/setup.sh build

setup-lint: ## Installs what `make lint` needs: rustfmt, clippy, shellcheck
	@scripts/setup.sh build lint

# The version that deny.toml was written for.
setup-deny: ## Builds cargo-deny from crates.io, which takes some minutes
	$(CARGO) install --locked --version 0.20.2 cargo-deny

servers: ## Brings Redis 8, Valkey 8.1 and Valkey 9 into .servers, without installing them
	@scripts/servers.sh $(if $(REQUIRE_ALL),--require-all)

build: ## Builds the module: target/release/libblocking_cleanup.so
	$(CARGO) build --locked --release --package blocking-cleanup

cli: ## Builds the client: target/release/blocking-cleanup
	$(CARGO) build --locked --release --package blocking-cleanup-cli

# Tests take a client that is built in seconds.
cli-debug:
	$(CARGO) build --locked --package blocking-cleanup-cli

demo: setup build ## Removes 9,900 dead coordinators from a private server and checks every claim
	$(CARGO) build --locked --package blocking-harness --bin demo
	@$(CARGO) run --locked --quiet --package blocking-harness --bin demo -- $(DEMO)

run: setup build ## Runs a private server with the module until Ctrl-C; PORT=6400 for a given port
	$(CARGO) build --locked --package blocking-harness --bin serve
	@$(CARGO) run --locked --quiet --package blocking-harness --bin serve -- --port $(PORT)

unit: ## Tests without a server, in a build that checks overflow
	$(CARGO) test --locked --workspace --lib --bins --test border

harness: ## Tests of what the tests stand on: private servers, the script that brings servers
	$(CARGO) test --locked --workspace --test server --test servers_script

e2e: build cli-debug ## The suite e2e on one server, the system's or BLOCKING_SERVER_BIN
	$(CARGO) test --locked --workspace --test e2e $(if $(TESTS),-- $(TESTS))

cli-tests: build ## The suite cli, tests of the client, on one server
	$(CARGO) test --locked --workspace --test cli $(if $(TESTS),-- $(TESTS))

matrix: servers build cli-debug ## Every suite on every server, and a table of how each did
	$(CARGO) build --locked --workspace --bin matrix
	@RUST_TEST_THREADS=$(RUST_TEST_THREADS) $(TARGET_DIR)/debug/matrix --one-by-one $(call list,$(SUITES)) $(if $(SUITES_AT_ONCE),--at-once $(call list,$(SUITES_AT_ONCE))) \
	  $(if $(REQUIRE_ALL),--require-all) --output $(TARGET_DIR)/matrix $(if $(TESTS),-- $(TESTS))

# Built beside the usual one, so that nothing is compiled twice; the last line puts the usual one back in its place.
timers: ## The same for a build without timerfd, as on macOS: scenarios and changing environment
	@mkdir -p $(TARGET_DIR)/timers-only
	$(CARGO) build --locked --release --package blocking-cleanup --features timers-only
	cp $(TARGET_DIR)/release/libblocking_cleanup.$(LIBRARY_SUFFIX) $(TARGET_DIR)/timers-only/
	$(CARGO) build --locked --release --package blocking-cleanup
	$(CARGO) build --locked --workspace --bin matrix
	@BLOCKING_MODULE=$(abspath $(TARGET_DIR)/timers-only/libblocking_cleanup.$(LIBRARY_SUFFIX)) \
	  RUST_TEST_THREADS=$(RUST_TEST_THREADS) $(TARGET_DIR)/debug/matrix --one-by-one e2e --list /dev/null --output $(TARGET_DIR)/timers-only/matrix -- $(TIMED)

# Where the tools cannot be brought this says so, and is an error only if it was asked for.
contrib: servers build cli-debug ## The files in contrib/ on every server, with Prometheus, redis_exporter and systemd-analyze
	$(CARGO) build --locked --workspace --bin matrix
	@if scripts/setup.sh contrib && scripts/tools.sh; then \
	  $(TARGET_DIR)/debug/matrix --one-by-one contrib $(if $(REQUIRE_ALL),--require-all) --output $(TARGET_DIR)/matrix-contrib; \
	else echo "contrib/ is not tested"; $(if $(REQUIRE_ALL)$(filter contrib,$(MAKECMDGOALS)),exit 1,true); fi

# The same for the clients.
clients: servers build ## The code on docs/clients.md on every server, by the clients it is for
	$(CARGO) build --locked --workspace --bin matrix
	@if scripts/setup.sh clients && scripts/clients.sh; then \
	  $(TARGET_DIR)/debug/matrix --one-by-one clients $(if $(REQUIRE_ALL),--require-all) --output $(TARGET_DIR)/matrix-clients; \
	else echo "docs/clients.md is not tested"; $(if $(REQUIRE_ALL)$(filter clients,$(MAKECMDGOALS)),exit 1,true); fi

migrate: setup build cli-debug ## Scripts as users write them, and the module, on the same keys: docs/migrate.md
	$(CARGO) test --locked --test migrate

test: setup servers build unit harness matrix timers contrib clients migrate ## All tests, on every server

bench: setup servers build ## Measures the module against scripts and clients; writes docs/benchmark.md
	$(CARGO) build --locked --release --package blocking-bench
	@$(TARGET_DIR)/release/bench $(FULL) $(BENCH)

bench-full: FULL = --full
bench-full: bench ## The same on all keyspaces and all servers, for hours

plots: ## Draws the pictures of docs/benchmark.md again, from the figures of the last `make bench`
	@$(CARGO) run --locked --quiet --package blocking-bench --bin bench -- --redraw docs/benchmark/plots.json

profile: ## Counts the instructions of every contender on the main thread, with valgrind; writes docs/profile.md
	@scripts/setup.sh profile
	@$(MAKE) --no-print-directory build
	$(CARGO) build --locked --release --package blocking-bench
	@$(TARGET_DIR)/release/profile

fuzz: ## Fuzzes the parsers, the key matcher and the plan; SECONDS=600 for ten minutes each
	@scripts/setup.sh fuzz
	@scripts/fuzz.sh $(or $(SECONDS),60)

valgrind: build ## Tests on servers that valgrind watches: no invalid access, nothing lost
	@scripts/setup.sh valgrind
	@scripts/valgrind.sh $(WATCHED)

soak: build ## The fleet test for hours, figures every minute: HOURS=8, or SECONDS=600; SEED=... repeats one
	BLOCKING_FLEET_SECONDS=$(or $(SECONDS),$(shell echo $$(($(HOURS) * 3600)))) $(if $(SEED),BLOCKING_SEED=$(SEED)) \
	  $(CARGO) test --locked --test fleet -- --nocapture

reliability: setup ## The suites on every server, fuzz and valgrind; writes the figures of docs/reliability.md
	@rm -f $(EVIDENCE)
	@BLOCKING_EVIDENCE=$(EVIDENCE) $(MAKE) matrix fuzz valgrind
	@$(CARGO) run --locked --quiet --package blocking-harness --bin figures -- \
	  $(EVIDENCE) docs/reliability.md --date $$(date -u +%F)

lint: ## Formatting and clippy, warnings are errors; whether the fuzz targets compile
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	@if command -v c++ >/dev/null; then $(CARGO) check --locked --manifest-path fuzz/Cargo.toml --target-dir $(TARGET_DIR)/fuzz; fi
	@if command -v shellcheck >/dev/null; then shellcheck scripts/*.sh packaging/*.sh tests/migrate/*.sh .ci/run; fi
	@if command -v cargo-deny >/dev/null; then $(MAKE) --no-print-directory deny; fi

deny: ## Licences, sources and duplicates of the dependencies: deny.toml
	$(CARGO) deny --locked check bans licenses sources

advisories: ## Known vulnerabilities of the dependencies, from the RustSec database on the network
	$(CARGO) deny --locked check advisories

lint-files: ## Linters for Dockerfile, compose.yaml, workflows and other YAML, brought from PyPI into .lint
	@scripts/setup.sh build python
	@scripts/lint-files.sh

# Where they cannot be tried this says so, and is an error: nothing else asks for it.
images-check: lint-files ## Builds the images and tries them, as root on Debian, with Debian's servers in the official images' place
	@scripts/images.sh

package: setup-build ## Packages for this system or TARGET=aarch64-unknown-linux-gnu, in dist/: .deb, .rpm, .tar.gz, SBOM
	@scripts/setup.sh build python
	@scripts/package-tools.sh
	@scripts/package.sh $(TARGET)

package-check: ## Packs the last commit twice, compares byte by byte; which glibc it needs; lintian
	@scripts/setup.sh build python package
	@scripts/package-tools.sh
	@scripts/package-check.sh

package-test: ## Installs the .deb of dist/ on fresh Debians, with Redis and Valkey; upgrades; purges. Needs root
	@scripts/setup.sh build package
	@scripts/package-test.sh

# Debian's servers for that system, in an emulator; what is cut short in the middle of a run needs more speed than that.
arm64-check: ## The aarch64 library that BLOCKING_MODULE names, in Debian's arm64 servers under qemu
	@scripts/setup.sh build arm64
	@BLOCKING_SERVERS_ARCHITECTURE=arm64 BLOCKING_SERVERS_EMULATOR=qemu-aarch64-static BLOCKING_SERVERS_DIR=$(CURDIR)/.servers/arm64 scripts/servers.sh
	@for server in .servers/arm64/*/*-server; do echo "$$server"; \
	  BLOCKING_PATIENCE=20 BLOCKING_SERVER_BIN=$(CURDIR)/$$server $(CARGO) test --locked --test e2e -- $(or $(TESTS),arguments::declared families::setting families::orphans families::queries) || exit 1; done

checksums: ## Writes dist/SHA256SUMS over what lies in dist
	cd dist && rm -f SHA256SUMS && sha256sum -- * >SHA256SUMS

clean: ## Removes what was built
	$(CARGO) clean
