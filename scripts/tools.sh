#!/bin/sh
# Brings prometheus, promtool and prometheus-redis-exporter into .tools/: this Debian's packages, fetched with apt, unpacked.
# Must not install anything, for a package that is installed starts its service; what is installed already is used.
set -eu

cd "$(dirname "$0")/.."
TOOLS=$PWD/.tools
PACKAGES="prometheus prometheus-redis-exporter"
PROGRAMS="prometheus promtool prometheus-redis-exporter"

say() { echo "tools: $*"; }
fail() {
    say "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

all_there() {
    for program in $PROGRAMS; do
        [ -x "$TOOLS/$program" ] || have "$program" || return 1
    done
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# download: the packages into the current folder.
download() {
    # Each word is a package name.
    # shellcheck disable=SC2086
    apt-get download -q $PACKAGES >said 2>&1
}

if all_there; then
    say "everything is here"
    exit 0
fi
have apt-get || fail "this machine has no apt-get; install by other means: $PACKAGES"
mkdir -p "$TOOLS"
work=$(mktemp -d "$TOOLS/.new.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

say "fetching $PACKAGES, which the tests of contrib/ run"
cd "$work"
# Lists of packages may be missing, or so old that what they name is gone.
if ! download && ! { as_root apt-get update -q >said 2>&1 && download; }; then
    cat said >&2
    fail "cannot be fetched: $PACKAGES"
fi
for package in ./*.deb; do
    dpkg -x "$package" all
done
for program in $PROGRAMS; do
    mv "all/usr/bin/$program" "$TOOLS/$program"
    "$TOOLS/$program" --version >said 2>&1 || {
        cat said >&2
        rm -f "$TOOLS/$program"
        fail "$program does not run"
    }
done
say "done"
