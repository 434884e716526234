#!/bin/sh
# A cleanup as users write it: a loop of redis-cli, run by cron or systemd. For the tests of docs/migrate.md, not for use.
# cleanup.sh [--dry-run]; REDIS_PORT is the server. Exit status: 0 fine, 1 no server, 2 errors.
# Its known faults are those of such scripts, and are marked; none was added on purpose.
set -u

THRESHOLD=600
dry_run=false
if [ "${1:-}" = --dry-run ]; then dry_run=true; fi
cli="redis-cli -p ${REDIS_PORT:-6379}"

# Fault: an error reply, of a wrong password for example, is an answer, too, and redis-cli ends with 0.
if ! $cli PING >/dev/null 2>&1; then
    echo "cannot connect to Redis" >&2
    exit 1
fi

began=$(date +%s)
now=$($cli TIME | head -n 1)
list=$(mktemp)
trap 'rm -f "$list"' EXIT
# Fault: a name with a line break is two names from here on.
$cli --scan --pattern 'blocking:heartbeat:*' >"$list"

checked=0 stale=0 deleted=0 errors=0 ids=
while IFS= read -r heartbeat; do
    checked=$((checked + 1))
    # Faults: what is no JSON with exactly this text in it has no time, and of several the first counts.
    ms=$($cli GET "$heartbeat" | grep -o '"timestamp":[0-9]*' | head -n 1 | cut -d : -f 2)
    [ -n "$ms" ] || continue
    # Fault: seconds are taken for milliseconds.
    [ $((now - ms / 1000)) -gt "$THRESHOLD" ] || continue
    id=${heartbeat#blocking:heartbeat:}
    stale=$((stale + 1))
    # Fault: a quote in an id breaks the JSON.
    ids="$ids${ids:+,}\"$id\""

    # The tests act here, between the verdict and the removal.
    ${BEFORE_DELETE:-:} "$id"

    # Faults: the id is a pattern here, and part of other ids.
    for pattern in "blocking:ack:$id:*" "blocking:idempotency:*$id*"; do
        keys=$($cli --scan --pattern "$pattern")
        [ -n "$keys" ] || continue
        # Fault: counts what was found, not what was removed.
        deleted=$((deleted + $(printf '%s\n' "$keys" | wc -l)))
        # Fault: xargs splits names at spaces, and takes quotes for its own.
        # shellcheck disable=SC2086
        $dry_run || printf '%s\n' "$keys" | xargs $cli DEL >/dev/null || errors=$((errors + 1))
    done
    deleted=$((deleted + 3))
    # Fault: without -e redis-cli ends with 0 whatever the server answers.
    $dry_run || $cli DEL "blocking:signal:$id" "coordinator:activity:$id" "$heartbeat" >/dev/null || errors=$((errors + 1))
done <"$list"

took_ms=$((($(date +%s) - began) * 1000))
printf '{"totalCoordinatorsChecked":%s,"staleCoordinatorsFound":%s,"keysDeleted":%s,"executionTimeMs":%s,"staleCoordinatorIds":[%s]}\n' \
    "$checked" "$stale" "$deleted" "$took_ms" "$ids"
[ "$errors" -eq 0 ] || exit 2
