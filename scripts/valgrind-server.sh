#!/bin/sh
# Stands in for redis-server where tests look for one (BLOCKING_SERVER_BIN): the same server, watched by valgrind.
# Must become the server, not start it: tests know the server by its process id.
# BLOCKING_VALGRIND_LOGS names the folder that the reports go to, BLOCKING_VALGRIND_SERVER another server.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
server=${BLOCKING_VALGRIND_SERVER:-redis-server}
# A version is asked for by scripts, and needs no watching.
[ "${1:-}" = --version ] && exec "$server" --version

# The server allocates through jemalloc, a library of its own; valgrind must know that its functions are malloc's, or
# it would see no allocation at all. Debug information is kept because tests unload the module. A server that forks to
# save itself would write a second report into the same file.
exec valgrind \
    --soname-synonyms='somalloc=*jemalloc*' \
    --leak-check=full --show-leak-kinds=definite,indirect,possible --errors-for-leak-kinds=definite,indirect,possible \
    --num-callers=50 --keep-debuginfo=yes --child-silent-after-fork=yes \
    --suppressions="$here/../tests/valgrind.supp" \
    --xml=yes --xml-file="$BLOCKING_VALGRIND_LOGS/%p.xml" \
    --log-file="$BLOCKING_VALGRIND_LOGS/%p.log" \
    "$server" "$@"
