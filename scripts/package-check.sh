#!/bin/sh
# Shows what is claimed of the packages: two clones in different folders give the same bytes, no newer C library is asked
# for than stated, the debug files fit, lintian has nothing to say, no path of this machine is inside.
# It packs the last commit, not what is uncommitted.
set -eu

cd "$(dirname "$0")/.."
work=$PWD/target/package-check
tools=$(realpath -m "${CARGO_TARGET_DIR:-target}")/tools
say() { echo "package-check: $*"; }
fail() {
    say "$*" >&2
    exit 1
}

rm -rf "$work"
mkdir -p "$work/a/folder with spaces"
for folder in "$work/b" "$work/a/folder with spaces/and-another-depth"; do
    git clone --quiet . "$folder"
    mkdir -p "$folder/target"
    ln -s "$tools" "$folder/target/tools"
    say "packing in $folder"
    (cd "$folder" && unset CARGO_TARGET_DIR && scripts/package.sh >"$work/said" 2>&1) || {
        tail -n 20 "$work/said" >&2
        fail "scripts/package.sh fails"
    }
done
one=$work/b/dist
other="$work/a/folder with spaces/and-another-depth/dist"
diff "$one/SHA256SUMS" "$other/SHA256SUMS" >"$work/differs" || fail "the same commit gives other bytes: $(cat "$work/differs")"
(cd "$one" && sha256sum --quiet --check SHA256SUMS)
say "two clones give the same $(wc -l <"$one/SHA256SUMS") files"

limit=$(sed -n 's/^GLIBC=//p' scripts/package.sh)
mkdir "$work/unpacked"
tar -x -f "$one"/*.tar.gz -C "$work/unpacked" --strip-components 1
printf '%s\n' "$work/unpacked/libblocking_cleanup.so" "$work/unpacked/blocking-cleanup" >"$work/binaries"
while read -r binary; do
    newest=$(objdump -T "$binary" | grep -o 'GLIBC_[0-9.]*' | cut -d _ -f 2 | sort -V | tail -n 1)
    [ -n "$newest" ] || fail "$binary asks for no C library at all"
    [ "$(printf '%s\n%s\n' "$newest" "$limit" | sort -V | tail -n 1)" = "$limit" ] ||
        fail "$binary needs glibc $newest, which is newer than $limit"
    for path in "$work" "${CARGO_HOME:-$HOME/.cargo}" "$(rustc --print sysroot)"; do
        for file in "$binary" "$binary.debug"; do
            if grep -qF "$path" "$file"; then fail "$file holds the path $path"; fi
        done
    done
    built() { readelf --notes "$1" 2>/dev/null | sed -n 's/.*Build ID: //p'; }
    if [ -z "$(built "$binary")" ] || [ "$(built "$binary")" != "$(built "$binary.debug")" ]; then
        fail "$binary.debug is another build's"
    fi
    readelf --sections "$binary" | grep -q '\.gnu_debuglink' || fail "$binary does not name its debug file"
    if readelf --sections "$binary" | grep -q '\.symtab'; then fail "$binary is not stripped"; fi
    say "$(basename "$binary"): $(stat -c %s "$binary") bytes, glibc $newest or newer"
done <"$work/binaries"
exported=$(nm -D --defined-only "$work/unpacked/libblocking_cleanup.so" | awk '{ print $3 }' | sort | tr '\n' ' ')
[ "$exported" = "RedisModule_OnLoad RedisModule_OnUnload " ] || fail "the library exports $exported"

for package in "$one"/*.deb; do
    lintian --allow-root --fail-on error,warning,info --info "$package" || fail "lintian has something to say"
done
say "lintian has nothing to say"
