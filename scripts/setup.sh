#!/bin/sh
# Installs what building, testing and the demo need on a Debian machine, and says what and why.
# `setup.sh build` installs what building needs, and no server.
# `setup.sh fuzz`, `setup.sh valgrind`, `setup.sh profile`, `setup.sh contrib` and
# `setup.sh clients` install what only those targets need as well; so do `lint`, `python`,
# `package` and `arm64`.
# Must not touch anything that is there already: no upgrades, and no server that was installed before.
set -eu

POLICY=/usr/sbin/policy-rc.d
# Earlier 7.0.x servers crash on what the module does from a timer.
OLDEST_SERVER=7.0.6

cd "$(dirname "$0")/.."

say() { echo "setup: $*"; }
fail() {
    say "$*" >&2
    exit 1
}

# any_of pattern...: does one of these files exist? A pattern that matches nothing stays a pattern.
any_of() {
    for file in "$@"; do
        [ -e "$file" ] && return 0
    done
    return 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# at_least 1.90.0 1.88: is the first version as high as the second?
at_least() { printf '%s\n%s\n' "$2" "$1" | sort -V -C; }

check_rust() {
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
    if ! have cargo || ! have rustc; then
        fail "Rust $wanted or later is needed; install it from https://rustup.rs and run this again"
    fi
    found=$(rustc --version | cut -d ' ' -f 2)
    at_least "$found" "${wanted:-0}" ||
        fail "Rust $wanted or later is needed, this is $found; 'rustup update' brings a later one"
}

# bindgen needs the library and the headers that belong to the compiler itself.
have_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return 0
    # There it comes with the command line tools, like cc.
    [ "$(uname -s)" = Darwin ] && return 0
    any_of /usr/lib/llvm-*/lib/libclang.so* /usr/lib/*/libclang-[0-9]*.so* /usr/lib*/libclang.so* &&
        any_of /usr/lib/llvm-*/lib/clang/*/include/stddef.h /usr/lib*/clang/*/include/stddef.h
}

have_headers() {
    [ "$(uname -s)" = Darwin ] && return 0
    have cc && echo '#include <stdio.h>' | cc -E - >/dev/null 2>&1
}

# A toolchain may have been installed without these two.
add_rust_linters() {
    if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then return 0; fi
    have rustup || fail "rustfmt and clippy are needed; install those that belong to your Rust"
    rustup component add rustfmt clippy
}

packages=
need() {
    packages="$packages $1"
    say "$1 is missing: $2"
}

list_missing_servers() {
    if [ -n "${BLOCKING_SERVER_BIN:-}" ]; then
        have "$BLOCKING_SERVER_BIN" || fail "BLOCKING_SERVER_BIN is $BLOCKING_SERVER_BIN, and that is no program"
    elif ! have redis-server; then
        need redis-server "the server that the tests and the demo start"
    fi
    have redis-cli || need redis-tools "redis-cli, to talk to a server by hand"
    have jq || need jq "the steps on docs/migrate.md, which tests run, read JSON with it"
}

list_missing() {
    [ "$with_server" = no ] || list_missing_servers
    have_libclang || need libclang-dev "bindgen reads C headers with it"
    have cc || need gcc "the linker that Rust calls"
    case " $* " in *" fuzz "*) have c++ || need g++ "the fuzzer's own library is C++; needed by 'make fuzz' only" ;; esac
    case " $* " in *" valgrind "*) have valgrind || need valgrind "it watches the module's memory; needed by 'make valgrind' only" ;; esac
    case " $* " in *" profile "*) have callgrind_control || need valgrind "it counts instructions; needed by 'make profile' only" ;; esac
    case " $* " in *" contrib "*) have systemd-analyze || need systemd "systemd-analyze checks units; needed by 'make contrib' only" ;; esac
    case " $* " in *" clients "*)
        python3 -c 'import ensurepip' 2>/dev/null || need python3-venv "it brings clients in Python; needed by 'make clients' only"
        have npm || need npm "it brings clients for Node.js; needed by 'make clients' only"
        ;;
    esac
    case " $* " in *" lint "*) have shellcheck || need shellcheck "it checks the scripts; needed by 'make lint' only" ;; esac
    case " $* " in *" python "*) python3 -c 'import ensurepip' 2>/dev/null || need python3-venv "it brings linters and what makes packages; needed by 'make lint-files' and 'make package' only" ;; esac
    case " $* " in *" arm64 "*) have qemu-aarch64-static || need qemu-user-static "it runs arm64 servers; needed by 'make arm64-check' only" ;; esac
    case " $* " in *" package "*)
        have lintian || need lintian "it judges packages; needed by 'make package-check' only"
        have debootstrap || need debootstrap "it makes the roots that packages are tried in; needed by 'make package-test' only"
        ;;
    esac
    have_headers || need libc6-dev "the C headers that bindgen reads, and the libraries to link with"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Debian starts a server on port 6379 as soon as its package is installed. That one is not wanted, so it is kept
# from starting; a service of that name that was there before stays as it is.
service_is_ours=no
forbid_service() {
    any_of /etc/systemd/system/redis-server.service /*/systemd/system/redis-server.service \
        /usr/*/systemd/system/redis-server.service && return 0
    if dpkg-query -W -f '${db:Status-Status}' redis-server 2>/dev/null | grep -qx installed; then return 0; fi
    service_is_ours=yes
    [ -e "$POLICY" ] && return 0
    trap 'as_root rm -f "$POLICY"' EXIT
    trap 'exit 130' INT TERM
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$POLICY" >/dev/null
    as_root chmod 755 "$POLICY"
}

switch_off_service() {
    [ "$service_is_ours" = yes ] && have systemctl || return 0
    as_root systemctl disable --now redis-server >/dev/null 2>&1 || true
    say "the service redis-server, which came with the package, is switched off; the tests start their own servers"
}

install_missing() {
    have apt-get || fail "this machine has no apt-get; install by other means:$packages"
    if [ "$(id -u)" -ne 0 ] && ! have sudo; then
        fail "not root and no sudo; as root, run: apt-get install --no-install-recommends$packages"
    fi
    case " $packages " in *" redis-server "*) forbid_service ;; esac
    as_root apt-get update -q
    # Each word of the list is a package name.
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages
    switch_off_service
}

check_server() {
    server=${BLOCKING_SERVER_BIN:-redis-server}
    version=$("$server" --version | sed -n 's/.* v=\([0-9.]*\).*/\1/p')
    at_least "${version:-0}" "$OLDEST_SERVER" ||
        fail "$server is version ${version:-unknown}, the module needs $OLDEST_SERVER or later; set BLOCKING_SERVER_BIN to another server"
}

# Building needs none.
with_server=yes
case " $* " in *" build "*) with_server=no ;; esac

check_rust
case " $* " in *" lint "*) add_rust_linters ;; esac
list_missing "$@"
if [ -z "$packages" ]; then
    [ "$with_server" = no ] || check_server
    say "everything is here"
else
    install_missing
    [ "$with_server" = no ] || check_server
    say "done"
fi
