#!/bin/sh
# Stands in for redis-server: the same server under callgrind, which counts the instructions of each thread, and the reads
# that would miss a last-level cache of 1 MiB: small, as a keyspace that can be walked under valgrind is.
# Must become the server, not start it: its caller knows it by its process id.
# BLOCKING_SERVER_BIN names another server than the system's. Counts go to the folder that it is started in.
set -eu

# Nothing is counted before callgrind_control says so.
exec valgrind --tool=callgrind --instr-atstart=no --separate-threads=yes --callgrind-out-file=%p \
    --cache-sim=yes --LL=1048576,16,64 \
    "${BLOCKING_SERVER_BIN:-redis-server}" "$@"
