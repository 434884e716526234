#!/bin/sh
# Brings the servers of scripts/servers.list into .servers/: fetched with apt, unpacked, never installed.
# Must not touch anything outside .servers/, and a half-made or a wrong server must never count as there.
#
# .servers/valkey-9/ then has valkey-server and valkey-cli, which run with the libraries of their own suite, or a file
# `missing` whose first line says why there are none. With --require-all a missing server is an error.
set -eu

cd "$(dirname "$0")/.."

# Servers of another architecture run in an emulator; those go into a folder of their own.
ARCHITECTURE=${BLOCKING_SERVERS_ARCHITECTURE:-$(dpkg --print-architecture 2>/dev/null || true)}
EMULATOR=${BLOCKING_SERVERS_EMULATOR:-}
# The other three places are for the test of this script.
LIST=${BLOCKING_SERVERS_LIST:-scripts/servers.list}
SERVERS=${BLOCKING_SERVERS_DIR:-$PWD/.servers}
SOURCES=${BLOCKING_APT_SOURCES:-/etc/apt}
ATTEMPTS=3
PAUSE_S=${BLOCKING_RETRY_PAUSE_S:-3}

say() { echo "servers: $*"; }
fail() {
    say "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# version_of program: empty if it does not run.
version_of() { "$1" --version 2>/dev/null | sed -n 's/.* v=\([0-9.]*\).*/\1/p'; }

# is_series 8.0.2 8.0
is_series() { case $1 in "$2".*) return 0 ;; *) return 1 ;; esac }

# sources_for suite folder: writes the first source of packages of this machine, with its suite replaced, into the
# folder. The archive itself is meant: lines for its updates and for security are left out, and so are disks.
sources_for() {
    for file in "$SOURCES/sources.list" "$SOURCES/sources.list.d/debian.sources" \
        "$SOURCES"/sources.list.d/*.sources "$SOURCES"/sources.list.d/*.list; do
        [ -r "$file" ] || continue
        case $file in
            *.sources) stanza_for "$1" <"$file" >"$2/main.sources" && sources=$2/main.sources && return 0 ;;
            *) line_for "$1" <"$file" >"$2/main.list" && sources=$2/main.list && return 0 ;;
        esac
    done
    return 1
}

# Of a file of stanzas: the address, the keys and what else is said about trust stay as they are.
stanza_for() {
    grep -v '^#' | awk -v suite="$1" '
        function has(text, word) { return index(" " text " ", " " word " ") > 0 }
        function take_stanza(    main) {
            split(value["suites"], suites, " ")
            main = has(value["types"], "deb") && has(value["components"], "main") && value["enabled"] !~ /^no/ &&
                suites[1] !~ /security|updates|backports|\// && value["uris"] !~ /security|cdrom:/
            if (main) {
                printf "Types: deb\nSuites: %s\nComponents: main\nTargets: Packages\n%s", suite, kept
                found = 1
                exit
            }
            split("", value)
            kept = ""
        }
        /^[ \t]*$/ { take_stanza(); next }
        /^[^ \t]/ {
            name = tolower($0)
            sub(/:.*/, "", name)
            value[name] = ""
        }
        {
            text = $0
            sub(/^[^ \t:]+:/, "", text)
            gsub(/[ \t]+/, " ", text)
            sub(/^ /, "", text)
            value[name] = value[name] == "" ? text : value[name] " " text
            if (name !~ /^(types|suites|components|targets|architectures|languages|enabled)$/) kept = kept $0 "\n"
        }
        END {
            if (!found) take_stanza()
            exit !found
        }'
}

# Of a file with one source a line: deb [options] address suite components.
line_for() {
    sed -n 's/^[ \t]*deb[ \t]\{1,\}//p' | awk -v suite="$1" '
        {
            options = ""
            if (match($0, /^\[[^]]*\]/)) {
                options = substr($0, 2, RLENGTH - 2)
                $0 = substr($0, RLENGTH + 1)
            }
            sub(/#.*/, "")
            main = 0
            for (at = 3; at <= NF; at++) if ($at == "main") main = 1
            if (!main || $1 ~ /security|^cdrom:/ || $2 ~ /security|updates|backports|\//) next
            gsub(/(arch|lang|target)[+-]?=[^ \t]*/, "", options)
            printf "deb [%s target=Packages] %s %s main\n", options, $1, suite
            found = 1
            exit
        }
        END { exit !found }'
}

# apt_conf folder: the machine's own settings count (a proxy, for example), but neither its lists, its idea of what is
# installed and preferred, nor what it does after an update.
apt_conf() {
    cat <<EOF
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
APT::Architecture "$ARCHITECTURE";
APT::Architectures { "$ARCHITECTURE"; };
APT::Default-Release "";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
APT::Get::Assume-Yes "true";
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Retries "1";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Acquire::GzipIndexes "true";
Debug::NoLocking "true";
Dir::Cache "$1";
Dir::Cache::archives "archives";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::sourcelist "$sources";
Dir::Etc::sourceparts "/dev/null";
Dir::State "$1";
Dir::State::lists "lists";
Dir::State::status "$1/status";
EOF
}

# of_suite suite words...: apt-get for that suite, with what it says in a file; again if it fails.
of_suite() {
    suite_dir=$work/$1
    shift
    attempt=1
    until apt-get -q -c "$suite_dir/apt.conf" "$@" >"$suite_dir/said" 2>&1 </dev/null; do
        [ "$attempt" -lt "$ATTEMPTS" ] || return 1
        attempt=$((attempt + 1))
        sleep "$PAUSE_S"
    done
}

# reach suite: fetches its list of packages, once.
reach() {
    [ ! -e "$work/$1/reached" ] || return 0
    [ ! -e "$work/$1/unreachable" ] || return 1
    say "asking for Debian $1"
    mkdir -p "$work/$1/lists/partial" "$work/$1/archives/partial"
    : >"$work/$1/status"
    : >"$work/$1/said"
    : >"$work/$1/unreachable"
    if ! sources_for "$1" "$work/$1"; then
        echo "E: no source of Debian's packages among this machine's apt sources" >"$work/$1/said"
        return 1
    fi
    apt_conf "$work/$1" >"$work/$1/apt.conf"
    of_suite "$1" update || return 1
    mv "$work/$1/unreachable" "$work/$1/reached"
}

# unpack_parts suite folder: of what was fetched, one folder of libraries and one of programs.
unpack_parts() {
    mkdir -p "$2/lib" "$2/bin"
    for package in "$work/$1"/archives/*.deb; do
        dpkg -x "$package" "$2/all" || return 1
    done
    libc=$(find "$2/all" -name libc.so.6 | head -n 1)
    # The folder is named for the architecture. It can be there twice, under /lib and under /usr/lib.
    triplet=$(basename "$(dirname "$libc")")
    for libraries in "$2/all/lib/$triplet" "$2/all/usr/lib/$triplet"; do
        if [ -d "$libraries" ]; then cp -a "$libraries/." "$2/lib/" || return 1; fi
    done
    # The server is a link to another program of the package.
    cp -L "$2/all/usr/bin/$kind-server" "$2/all/usr/bin/$kind-cli" "$2/bin/" || return 1
    rm -rf "$2/all"
}

# wrap folder program suite
wrap() {
    loader=$(find "$1/lib" -maxdepth 1 -type f -name 'ld*.so.*' | head -n 1)
    [ -n "$loader" ] || return 1
    cat >"$1/$2" <<EOF
#!/bin/sh
# Debian $3's $2 with its own libraries and loader.
here=\${0%/*}
exec $EMULATOR "\$here/lib/${loader##*/}" --library-path "\$here/lib" --argv0 $2 "\$here/bin/$2" "\$@"
EOF
    chmod 755 "$1/$2"
}

# bring suite folder: makes the server in that folder, or sets why not.
bring() {
    why="Debian $1 cannot be reached"
    reach "$1" || return 1
    why="Debian $1 does not give $kind-server"
    rm -rf "$work/$1/archives"
    mkdir -p "$work/$1/archives/partial"
    # With nothing installed, this fetches everything that the server needs, the C library included.
    say "fetching $kind-server of Debian $1"
    of_suite "$1" install --download-only "$kind-server" || return 1
    why="$kind-server of Debian $1 cannot be unpacked"
    unpack_parts "$1" "$2" 2>"$work/$1/said" || return 1
    wrap "$2" "$kind-server" "$1" && wrap "$2" "$kind-cli" "$1" || return 1
    version=$("$2/$kind-server" --version 2>"$work/$1/said" | sed -n 's/.* v=\([0-9.]*\).*/\1/p')
    why="$kind-server of Debian $1 does not run"
    [ -n "$version" ] || return 1
    why="$kind-server of Debian $1 is $version, not $series"
    is_series "$version" "$series"
}

# One at a time, so that what is left of a run that was killed can be told from one that is on.
mkdir -p "$SERVERS"
if have flock; then
    exec 9>"$SERVERS/.lock"
    flock 9
fi
rm -rf "$SERVERS"/.new.*
work=$(mktemp -d "$SERVERS/.new.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

case ${1:-} in
    '' | --require-all) ;;
    *) fail "usage: $0 [--require-all]" ;;
esac

missing=
while read -r kind series suite <&3; do
    case $kind in '' | '#'*) continue ;; esac
    name=$kind-$series
    version=$(version_of "$SERVERS/$name/$kind-server" || true)
    if is_series "$version" "$series"; then
        say "$name is here, $version"
        continue
    fi
    why="this machine has no apt-get"
    if have apt-get && bring "$suite" "$work/$name"; then
        say "$name is here now, $version"
    else
        say "$name is not tested: $why" >&2
        rm -rf "${work:?}/$name"
        mkdir "$work/$name"
        {
            echo "$why"
            if [ -e "$work/$suite/said" ]; then grep '^[EW]:' "$work/$suite/said" || tail -n 5 "$work/$suite/said"; fi
        } >"$work/$name/missing"
        sed -n '2,$s/^/    /p' "$work/$name/missing" >&2
        missing="$missing $name"
    fi
    rm -rf "${SERVERS:?}/$name"
    mv "$work/$name" "$SERVERS/$name"
done 3<"$LIST"

if [ -n "$missing" ] && [ "${1:-}" = --require-all ]; then fail "missing:$missing"; fi
