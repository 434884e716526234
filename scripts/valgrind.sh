#!/bin/sh
# Runs tests on servers that valgrind watches, then fails if a report names the module: an invalid access, a use of
# memory never written, or memory that was lost.
# Must not fail for what the server does by itself.
set -eu

cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
logs=$target/valgrind
rm -rf "$logs"
mkdir -p "$logs"
module=$(realpath "$BLOCKING_MODULE")

# Valgrind takes some thirty times as long, so everything may take that long, and no two servers run at a time more
# than there are processors. Servers end by themselves, because only then what is lost can be seen.
failed=no
env -u BLOCKING_EVIDENCE BLOCKING_VALGRIND_LOGS="$logs" BLOCKING_SERVER_BIN="$PWD/scripts/valgrind-server.sh" BLOCKING_SERVER_STOP=term \
    BLOCKING_PATIENCE=20 cargo test --locked --test e2e -- "$@" || failed=yes

# One record a line, of those that name the module; then the record again, without its tags.
cat >"$logs/records.awk" <<'AWK'
/<error>/ { record = ""; inside = 1 }
inside { record = record "\n" $0 }
/<\/error>/ {
    inside = 0
    if (index(record, "<obj>" module "</obj>")) {
        found = 1
        split(record, lines, "\n")
        for (number = 1; number in lines; number++) {
            line = lines[number]
            if (line ~ /<(kind|what|text|fn|file|line)>/) {
                gsub(/<[^>]*>/, "", line)
                print line
            }
        }
        print "--"
    }
}
END { exit found }
AWK

servers=0
ended=0
for report in "$logs"/*.xml; do
    [ -e "$report" ] || break
    servers=$((servers + 1))
    if grep -q '<state>FINISHED</state>' "$report"; then ended=$((ended + 1)); fi
    if ! awk -v module="$module" -f "$logs/records.awk" "$report" >"$report.found"; then
        echo "valgrind: the module in $report:"
        cat "$report.found"
        failed=yes
    fi
done
echo "valgrind: $servers servers watched, $ended of them to their end, the others were killed by their tests"
if [ "$ended" -eq 0 ]; then
    echo "valgrind: no report at all"
    failed=yes
fi
[ "$failed" = no ] || exit 1
if [ -n "${BLOCKING_EVIDENCE:-}" ]; then
    printf '{"server":"","figure":"watched_servers","count":%s}\n' "$ended" >>"$BLOCKING_EVIDENCE"
fi
