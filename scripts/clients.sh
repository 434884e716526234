#!/bin/sh
# Brings the clients that docs/clients.md speaks of into .clients/: from PyPI and npm, in the versions that the page names.
# Must not install anything outside of that folder.
set -eu

cd "$(dirname "$0")/.."
CLIENTS=$PWD/.clients
PYTHON="redis==8.1.0 valkey-glide==2.6.0"
NODE="ioredis@5.11.1"
# What is there was brought for these; another list brings it anew.
WANTED="$PYTHON $NODE"

say() { echo "clients: $*"; }
fail() {
    say "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# quietly command...: its output only if it fails.
quietly() {
    "$@" >"$CLIENTS/said" 2>&1 || {
        cat "$CLIENTS/said" >&2
        fail "failed: $*"
    }
}

if [ "$(cat "$CLIENTS/wanted" 2>/dev/null)" = "$WANTED" ]; then
    say "everything is here"
    exit 0
fi
have python3 || fail "this machine has no python3"
have npm || fail "this machine has no npm"
have redis-cli || fail "this machine has no redis-cli"
rm -rf "$CLIENTS"
mkdir -p "$CLIENTS/node"
say "fetching $WANTED, which the tests of docs/clients.md run"
quietly python3 -m venv "$CLIENTS/python"
# Each word is a package.
# shellcheck disable=SC2086
quietly "$CLIENTS/python/bin/pip" install --disable-pip-version-check --only-binary :all: $PYTHON
# shellcheck disable=SC2086
quietly npm install --prefix "$CLIENTS/node" --no-audit --no-fund --ignore-scripts $NODE
echo "$WANTED" >"$CLIENTS/wanted"
say "done"
