#!/bin/sh
# Installs the package of dist/ with apt in fresh Debian roots, starts the servers that Debian has there with it, asks
# DOCTOR, cleans up, upgrades a running server from version 0.2.0's library, and purges. Needs root and debootstrap.
# `scripts/package-test.sh bookworm redis` tries one: a suite of Debian and a server of it.
# Must touch nothing outside target/package/roots, and leave nothing running.
set -eu

# The last version whose library was copied by hand, and its commit.
OLD_VERSION=0.2.0
OLD_COMMIT=cea8e58

cd "$(dirname "$0")/.."
roots=$PWD/target/package/roots
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
say() { echo "package-test: $*"; }
fail() {
    say "$*" >&2
    exit 1
}

[ "$(id -u)" -eq 0 ] || fail "a fresh root needs root"
for program in debootstrap unshare; do
    command -v "$program" >/dev/null || fail "$program is missing; on Debian: make setup-package"
done
package=$(find dist -name "blocking-cleanup_*_$(dpkg --print-architecture).deb" | head -n 1)
[ -n "$package" ] || fail "no package in dist/; make package makes one"
version=$(dpkg-deb -f "$package" Version | cut -d - -f 1)

# in_root words...: in the root, with processes of its own, so that whatever is left over ends with them. No service
# starts by itself there: policy-rc.d says so, and there is no systemd.
in_root() {
    unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        chroot "$root" "$@"
}

# The library of version 0.2.0, built from its commit; nothing if that is not in this checkout.
old_library() {
    old=$PWD/target/package/old/libblocking_cleanup.so
    [ -e "$old" ] && return
    git cat-file -e "$OLD_COMMIT^{commit}" 2>/dev/null || return 1
    say "building version $OLD_VERSION, to upgrade from"
    rm -rf target/package/old
    mkdir -p target/package/old/source
    git archive "$OLD_COMMIT" | tar -x -C target/package/old/source
    (cd target/package/old/source && cargo build --locked --release --quiet --target-dir ../target)
    cp target/package/old/target/release/libblocking_cleanup.so "$old"
}

# try suite kind
try() {
    suite=$1
    kind=$2
    root=$roots/$suite-$kind
    say "Debian $suite, $kind-server"
    rm -rf "$root"
    mkdir -p "$roots"
    # All suites are made alike; an older debootstrap does not know the names of newer ones.
    debootstrap --variant=minbase "$suite" "$root" "$mirror" /usr/share/debootstrap/scripts/sid >"$roots/said" 2>&1 ||
        { tail -n 5 "$roots/said" >&2; fail "debootstrap cannot make a root of $suite"; }
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    cp "$package" "$root/tmp/package.deb"
    rm -f "$root/tmp/old.so"
    if old_library; then cp "$old" "$root/tmp/old.so"; else say "not tested: the upgrade from $OLD_VERSION, whose commit is not here"; fi
    cp scripts/package-test-inside.sh "$root/tmp/"
    in_root sh /tmp/package-test-inside.sh "$kind" "$version" || fail "Debian $suite, $kind-server: failed"
    rm -rf "$root"
}

if [ $# -eq 2 ]; then
    try "$1" "$2"
else
    # The oldest Debian with a server that is new enough, and those of scripts/servers.list.
    try bookworm redis
    try trixie redis
    try trixie valkey
    try sid valkey
fi
say "all passed"
