#!/bin/sh
# Stands in for redis-server: the same server under callgrind, which counts the instructions of each thread.
# Must become the server, not start it: whoever starts it knows it by its process id.
# BLOCKING_SERVER_BIN names another server than the system's. Counts go to the folder that it is started in.
set -eu

# Nothing is counted before callgrind_control says so.
exec valgrind --tool=callgrind --instr-atstart=no --separate-threads=yes --callgrind-out-file=%p \
    "${BLOCKING_SERVER_BIN:-redis-server}" "$@"
