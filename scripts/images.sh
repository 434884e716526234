#!/bin/bash
# Builds the images of the Dockerfile and tries them, as root on Debian and without a registry of images: debootstrap and
# Debian's servers stand in for the official base images, this machine's Rust for the image of Rust.
# Must leave nothing running and nothing outside `target/images`; what was not tried is never called tried.
#
# Exit status 1 says that something is wrong, 3 that this machine cannot try it.
set -euo pipefail

cd "$(dirname "$0")/.."
here=$PWD
work=$(realpath -m "${CARGO_TARGET_DIR:-target}")/images
# Another mirror of Debian than debootstrap's own choice.
mirror=${MIRROR:-}
library=/usr/local/lib/blocking-cleanup/libblocking_cleanup.so

say() { echo "images: $*"; }
fail() {
    say "$*" >&2
    exit 1
}
cannot() {
    say "not tried: $*" >&2
    exit 3
}

[ "$(id -u)" -eq 0 ] || cannot "only root can make the base images"
for program in buildah debootstrap unshare ip cargo; do
    command -v "$program" >/dev/null || cannot "there is no $program; apt-get install buildah debootstrap util-linux iproute2 brings all but cargo"
done
unshare --net true 2>/dev/null || cannot "this machine gives no network namespace of its own"

# A storage of its own, so that no other image or container is seen or touched. Overlay takes a fifth of the space, but
# not on every file system.
storage() { command buildah --root "$work/storage" --runroot "$work/run" --storage-driver "$driver" "$@"; }
run_in() { storage run --isolation chroot "$@"; }

choose_driver() {
    for driver in overlay vfs; do
        if probe=$(storage from scratch 2>/dev/null) && storage mount "$probe" >/dev/null 2>&1; then
            storage rm "$probe" >/dev/null
            return
        fi
        rm -rf "$work/storage" "$work/run"
    done
    cannot "buildah has no storage driver that works here"
}

# bootstrap suite: the smallest Debian of that suite, kept for the next time.
bootstrap() {
    [ -e "$work/$1.tar" ] && return
    say "debootstrap $1"
    rm -rf "${work:?}/$1"
    if ! debootstrap --variant=minbase --include=ca-certificates "$1" "$work/$1" ${mirror:+"$mirror"} >"$work/$1.log" 2>&1; then
        tail -n 5 "$work/$1.log" >&2
        cannot "debootstrap makes no $1"
    fi
    tar -C "$work/$1" --exclude=./var/cache/apt/archives/* --one-file-system -cf "$work/$1.tar.part" .
    mv "$work/$1.tar.part" "$work/$1.tar"
    rm -rf "${work:?}/$1"
}

# suite_of redis: where Debian has the newest of those servers that the tests run on.
suite_of() { awk -v kind="$1" '$1 == kind { suite = $3 } END { print suite }' scripts/servers.list; }

# A mirror may be a snapshot, whose lists are past their date; their signatures are checked all the same.
# stand_in_server redis: an image in the place of the official one. Its user has the same number, its programs and its
# entrypoint stand at the same places, and the entrypoint does the same three things, in words of its own.
stand_in_server() {
    suite=$(suite_of "$1")
    bootstrap "$suite"
    say "an image of Debian $suite's $1-server"
    container=$(storage from scratch)
    storage add -q "$container" "$work/$suite.tar" / >/dev/null
    run_in "$container" -- sh -euc "
        groupadd -r -g 999 $1 && useradd -r -g $1 -u 999 $1
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d
        apt-get -o Acquire::Check-Valid-Until=false update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $1-server
        for program in server cli; do ln -s /usr/bin/$1-\$program /usr/local/bin/$1-\$program; done
        mkdir /data && chown $1:$1 /data
    " >"$work/$1.log" 2>&1 || { tail -n 5 "$work/$1.log" >&2 && cannot "$1-server of Debian $suite cannot be installed"; }
    cat >"$work/entrypoint" <<ENTRYPOINT
#!/bin/sh
set -e
case \$1 in -* | *.conf) set -- $1-server "\$@" ;; esac
if [ "\$1" = $1-server ] && [ "\$(id -u)" = 0 ]; then
    chown -R $1 /data
    exec setpriv --reuid=$1 --regid=$1 --clear-groups "\$0" "\$@"
fi
for module in /usr/local/lib/$1/modules/*.so; do
    if [ -x "\$module" ]; then set -- "\$@" --loadmodule "\$module"; fi
done
exec "\$@"
ENTRYPOINT
    chmod 755 "$work/entrypoint"
    storage copy -q "$container" "$work/entrypoint" /usr/local/bin/docker-entrypoint.sh >/dev/null
    storage config --workingdir /data --entrypoint '["docker-entrypoint.sh"]' --cmd "$1-server" "$container"
    storage commit -q --rm "$container" "stand-in-$1" >/dev/null
}

# stand_in_rust: what the image of Rust has and this build needs. The toolchain is mounted when it is used.
stand_in_rust() {
    bootstrap bookworm
    say "an image of Debian bookworm for this machine's $(rustc --version)"
    container=$(storage from scratch)
    storage add -q "$container" "$work/bookworm.tar" / >/dev/null
    run_in "$container" -- sh -euc "
        apt-get -o Acquire::Check-Valid-Until=false update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends make gcc libc6-dev
    " >"$work/rust.log" 2>&1 || { tail -n 5 "$work/rust.log" >&2 && cannot "make and gcc of Debian bookworm cannot be installed"; }
    storage config --env PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    storage commit -q --rm "$container" stand-in-rust >/dev/null
}

# build target
build() {
    say "building the target $1"
    # A machine behind a proxy may have certificates of its own.
    storage bud -q --layers --isolation chroot --format docker --target "$1" --tag "blocking-cleanup-$1" \
        --build-arg RUST_IMAGE=localhost/stand-in-rust --build-arg REDIS_IMAGE=localhost/stand-in-redis \
        --build-arg VALKEY_IMAGE=localhost/stand-in-valkey --build-arg SOURCE=of-the-trial \
        --volume "$(rustc --print sysroot):/opt/rust:ro" --volume /etc/ssl/certs:/etc/ssl/certs:ro \
        "$here" >"$work/build-$1.log" 2>&1 || { tail -n 20 "$work/build-$1.log" >&2 && fail "the target $1 is not built"; }
}

# is what expected found
is() {
    [ "$2" = "$3" ] || fail "$kind: $1: expected '$2', found '$3'"
    say "$kind: $1"
}

config_of() { storage inspect --type image --format "{{$1}}" "blocking-cleanup-$kind"; }

# ask word...: the image's own client, as a user of the image. No answer is one, too.
ask() { run_in "$container" -- timeout 5 "$kind-cli" "$@" 2>&1 || true; }

# healthy [option...]: the exit status of the image's own health check.
healthy() {
    status=0
    run_in "$@" "$container" -- sh -c "$check" >"$work/health.log" 2>&1 || status=$?
    echo "$status"
}

# start [option...] -- word...: the entrypoint with these words, and the process id of the server.
start() {
    options=()
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    shift
    run_in "${options[@]}" "$container" -- docker-entrypoint.sh "$@" >"$work/server.log" 2>&1 &
    await_server
}

# await_server: waits for the server that was started last, and sets pid.
await_server() {
    for _ in $(seq 100); do
        pid=$(ask --no-auth-warning INFO server | tr -d '\r' | sed -n 's/^process_id://p')
        [ -n "$pid" ] && return
        kill -0 $! 2>/dev/null || break
        sleep 0.2
    done
    cat "$work/server.log" >&2
    fail "$kind does not start"
}

# start_locked_up word...: the same as compose.yaml has it, which buildah cannot: a root that is read-only, no
# capability, and none to be had.
start_locked_up() {
    root=$(storage mount "$container")
    # The words between these quotes are for the inner shells.
    # shellcheck disable=SC2016
    unshare --mount -- sh -euc '
        root=$1
        shift
        mount --bind "$root" "$root"
        mount -o remount,bind,ro "$root"
        mount -t tmpfs -o uid=999,gid=999 data "$root/data"
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        exec chroot "$root" setpriv --reuid=999 --regid=999 --clear-groups --no-new-privs \
            --bounding-set=-all --inh-caps=-all -- sh -euc "cd /data; exec \"\$@\"" sh "$@"
    ' sh "$root" docker-entrypoint.sh "$@" >"$work/server.log" 2>&1 &
    await_server
}

stop() {
    kill "$pid"
    wait || true
    pid=
}

# try_image: everything that can be seen of one image. In a network namespace of its own, so port 6379 is free.
try_image() {
    pid=
    trap 'if [ -n "$pid" ]; then kill -KILL "$pid"; fi; storage umount --all >/dev/null 2>&1 || true' EXIT
    container=$(storage from --pull-never "localhost/blocking-cleanup-$kind")
    is "the user is a number and not root" 999:999 "$(config_of .OCIv1.Config.User)"
    is "the entrypoint is the base's" '[docker-entrypoint.sh]' "$(config_of .OCIv1.Config.Entrypoint)"
    is "the version is that of the workspace" "$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)" \
        "$(config_of 'index .OCIv1.Config.Labels "org.opencontainers.image.version"')"
    is "the source can be given" of-the-trial "$(config_of 'index .OCIv1.Config.Labels "org.opencontainers.image.source"')"
    is "mode and owner of the library" "755 0:0" "$(run_in "$container" -- stat -c '%a %u:%g' "$library")"
    is "what else is in its folder" "LICENSE libblocking_cleanup.so" "$(run_in "$container" -- ls "${library%/*}" | xargs)"
    check=$(config_of 'index .Docker.Config.Healthcheck.Test 3')
    case $check in *"$kind-cli -e BLOCKING.STATUS"*) ;; *) fail "$kind: the health check is '$check'" ;; esac
    mapfile -t command < <(config_of 'range .OCIv1.Config.Cmd}}{{println .}}{{end' | sed '/^$/d')

    is "unhealthy: no server" 1 "$(healthy)"
    start -- "${command[@]}"
    say "$kind: $(ask INFO server | tr -d '\r' | sed -n "s/^${kind}_version:/$kind /p") of Debian $(suite_of "$kind")"
    is "the image's own command loads the module" "$library" "$(ask MODULE LIST | grep -x "$library")"
    is "the server's user" 999 "$(stat -c %u "/proc/$pid")"
    is "healthy" 0 "$(healthy)"
    grep -q idle "$work/health.log" || fail "$kind: the health check printed: $(cat "$work/health.log")"
    kill -STOP "$pid"
    is "unhealthy: the server hangs" 1 "$(healthy)"
    kill -CONT "$pid"
    is "healthy again" 0 "$(healthy)"
    ask SET blocking:heartbeat:dead 1700000000000 >/dev/null
    is "a cleanup removes what is dead" 1 "$(ask BLOCKING.CLEANUP NOWARMUP JSON | grep -o '"coordinatorsRemoved":[0-9]*' | cut -d : -f 2)"
    ask CONFIG SET requirepass secret >/dev/null
    is "unhealthy: a password is needed, and none given" 1 "$(healthy)"
    is "unhealthy: a wrong password" 1 "$(healthy --env REDISCLI_AUTH=wrong)"
    is "healthy: the password in REDISCLI_AUTH" 0 "$(healthy --env REDISCLI_AUTH=secret)"
    stop

    start -- "$kind-server"
    is "unhealthy: a server without the module" 1 "$(healthy)"
    stop

    start --user root -- "${command[@]}"
    is "started as root, the base's entrypoint gives root up" 999 "$(stat -c %u "/proc/$pid")"
    is "healthy: started as root" 0 "$(healthy)"
    stop

    start --volume "$here/contrib/container.conf:/etc/blocking-cleanup/container.conf:ro" -- \
        "$kind-server" /etc/blocking-cleanup/container.conf
    is "contrib/container.conf loads the module" "$library" "$(ask MODULE LIST | grep -x "$library")"
    is "healthy: contrib/container.conf" 0 "$(healthy)"
    ask SET kept here >/dev/null
    stop
    start -- "$kind-server" --appendonly yes --loadmodule "$library"
    is "what was written to /data is there after a restart" here "$(ask GET kept)"
    stop

    start_locked_up "${command[@]}"
    is "no capability is left, and none to be had" "0000000000000000 1" \
        "$(sed -n -e 's/^CapBnd:\s*//p' -e 's/^NoNewPrivs:\s*//p' "/proc/$pid/status" | sort | xargs)"
    is "nothing can be written but /data" "ro rw" "$(awk '$5 == "/" || $5 == "/data" { print substr($6, 1, 2) }' "/proc/$pid/mountinfo" | sort | xargs)"
    is "healthy: read-only and without capabilities" 0 "$(healthy)"
    is "it saves" OK "$(ask SAVE)"
    stop
    storage umount "$container" >/dev/null
    storage rm "$container" >/dev/null
}

mkdir -p "$work"
choose_driver
if [ "${1:-}" = --try ]; then
    kind=$2
    ip link set lo up
    try_image
    exit
fi
storage rm --all >/dev/null
stand_in_rust
for kind in redis valkey; do
    stand_in_server "$kind"
done
for kind in redis valkey; do
    build "$kind"
    unshare --net -- "$0" --try "$kind"
done
storage rm --all >/dev/null
say "both images were built and tried; the official base images were not, for Debian's servers stood in for them"
