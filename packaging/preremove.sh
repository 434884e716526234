#!/bin/sh
# Before the package is removed: names the configuration files without which the servers start again.
# Must not change them: a server's configuration is the operator's.
set -eu

# dpkg says `remove`, rpm how many versions stay, apk nothing.
case ${1:-remove} in
    remove | 0) ;;
    *) exit 0 ;;
esac
for file in /etc/redis/*.conf /etc/redis.conf /etc/valkey/*.conf /etc/valkey.conf; do
    if [ -r "$file" ] && grep -q '^[[:space:]]*loadmodule.*libblocking_cleanup' "$file"; then
        echo "blocking-cleanup: $file still loads the module; take out its loadmodule line and every blocking.* line," \
            "or the server does not start again" >&2
    fi
done
