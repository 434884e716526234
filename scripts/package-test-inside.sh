#!/bin/sh
# What scripts/package-test.sh does inside a fresh root: installs, starts, cleans up, upgrades, purges; ends at the first
# thing that is not as it should be.
set -eu

kind=$1
version=$2
conf=/etc/$kind/$kind.conf
library=/usr/lib/$kind/modules/libblocking_cleanup.so
real=/usr/lib/redis/modules/libblocking_cleanup.so
cli=$kind-cli

say() { echo "package-test:   $*"; }
fail() {
    echo "package-test:   $*" >&2
    [ ! -e /tmp/server.log ] || tail -n 20 /tmp/server.log >&2
    exit 1
}

# start: as Debian's unit does, as the server's own user and with its configuration.
start() {
    setpriv --reuid "$kind" --regid "$kind" --init-groups \
        "/usr/bin/$kind-server" "$conf" --daemonize no --supervised no --logfile /tmp/server.log &
    server=$!
    tries=0
    until [ "$($cli PING 2>/dev/null)" = PONG ]; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || fail "the server does not answer"
        kill -0 $server 2>/dev/null || fail "the server has ended"
        sleep 0.1
    done
}
stop() {
    $cli SHUTDOWN NOSAVE 2>/dev/null || true
    wait "$server" || true
}
loaded() { $cli MODULE LIST | tr '\n' ' '; }
# number 0.5.0 -> 500, as MODULE LIST has it
number() { echo "$1" | awk -F . '{ print $1 * 10000 + $2 * 100 + $3 }'; }
dead() {
    $cli SET blocking:heartbeat:dead 1700000000000 >/dev/null
    $cli SET blocking:signal:dead x >/dev/null
    $cli SET blocking:heartbeat:alive 4102444800000 >/dev/null
}

if $cli PING >/dev/null 2>&1; then fail "a server runs on this machine's port 6379, which the one to test needs"; fi
# A mirror may be some weeks behind.
apt-get -o Acquire::Check-Valid-Until=false update -q >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
apt-get install -q -y --no-install-recommends "$kind-server" >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
find / -xdev -not -path '/proc/*' -not -path '/tmp/*' -not -path '/var/*' | sort >/tmp/before

if [ -e /tmp/old.so ]; then
    install -D -m 755 /tmp/old.so "$library"
    cp "$conf" /tmp/conf
    echo "loadmodule $library" >>"$conf"
    echo "blocking.threshold-seconds 300" >>"$conf"
    start
    case $(loaded) in *blocking*\ 200\ *) ;; *) fail "not version 0.2.0: $(loaded)" ;; esac
    dead
    apt-get install -q -y /tmp/package.deb >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
    # The library that the server has mapped is still there for it.
    [ "$($cli PING)" = PONG ] || fail "the server did not survive the upgrade"
    $cli BLOCKING.CLEANUP DRYRUN JSON | grep -q '"staleCoordinatorsFound":1' || fail "the old one does not work any more"
    $cli SAVE >/dev/null
    stop
    start
    case $(loaded) in *blocking*\ "$(number "$version")"\ *) ;; *) fail "not version $version: $(loaded)" ;; esac
    $cli CONFIG GET blocking.threshold-seconds | grep -qx 300 || fail "the setting is gone"
    $cli BLOCKING.CLEANUP JSON | grep -q '"keysDeleted":2' || fail "it does not clean up what the old one left"
    stop
    apt-get purge -q -y blocking-cleanup >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
    grep -q "$conf still loads the module" /tmp/said || fail "removal does not say what is left over: $(cat /tmp/said)"
    cp /tmp/conf "$conf"
    say "a running server outlives the upgrade from 0.2.0 and has $version after its restart"
fi

apt-get install -q -y /tmp/package.deb >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
if [ ! -x "$library" ] || [ ! -x "$real" ]; then fail "no library at $library"; fi
cp "$conf" /tmp/conf
# What the packaged example says, with its defaults; only the place is this server's.
sed "s|^loadmodule .*|loadmodule $library|" /usr/share/doc/blocking-cleanup/examples/redis.conf.example >>"$conf"
start
case $(loaded) in *blocking*\ "$(number "$version")"\ *) ;; *) fail "not version $version: $(loaded)" ;; esac
$cli FLUSHALL >/dev/null
$cli BLOCKING.DOCTOR >/tmp/doctor
grep -q "found no coordinators" /tmp/doctor || fail "DOCTOR says: $(cat /tmp/doctor)"
dead
[ "$(blocking-cleanup --dry-run 2>/dev/null)" = "would remove 1 of 1 stale coordinator and 2 keys" ] || fail "the client's dry run: $(blocking-cleanup --dry-run 2>&1)"
[ "$(blocking-cleanup 2>/dev/null)" = "removed 1 of 1 stale coordinator and 2 keys" ] || fail "the client's run"
[ "$($cli --no-raw EXISTS blocking:heartbeat:dead blocking:signal:dead blocking:heartbeat:alive)" = "(integer) 1" ] || fail "other keys are gone"
say "installed, loaded by the packaged example, asked DOCTOR, cleaned up: $(blocking-cleanup --version)"
man_page=/usr/share/man/man1/blocking-cleanup.1.gz
[ -e /etc/dpkg/dpkg.cfg.d/docker ] || [ -s $man_page ] || fail "no man page"
$cli CONFIG REWRITE >/dev/null
stop
start
[ "$(loaded | grep -o 'name blocking ' | wc -l)" -eq 1 ] || fail "CONFIG REWRITE and a restart: $(loaded)"
stop
cp /tmp/conf "$conf"

apt-get purge -q -y blocking-cleanup >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
if grep -q "still loads" /tmp/said; then fail "removal complains of nothing: $(cat /tmp/said)"; fi
find / -xdev -not -path '/proc/*' -not -path '/tmp/*' -not -path '/var/*' | sort >/tmp/after
diff /tmp/before /tmp/after >/tmp/left || fail "purge leaves: $(cat /tmp/left)"
start
if loaded | grep -q blocking; then fail "still there"; fi
stop
say "purged; nothing is left, and the server starts without it"
