#!/bin/sh
# Each word comes back once, whichever thread is first; also with more threads than cores.
[ "$(./threaded | sort | tr '\n' ' ')" = "four one three two " ] || { echo "wrong words"; exit 1; }
[ "$(./threaded $(seq 16) | sort -n)" = "$(seq 16)" ] || { echo "wrong numbers"; exit 1; }
