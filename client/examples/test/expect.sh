#!/bin/sh
# expect.sh OUTPUT COMMAND...: the command succeeds and prints just that.
expected=$1
shift
output=$("$@") || { echo "it failed with $?"; exit 1; }
[ "$output" = "$expected" ] || { echo "it printed \"$output\" instead of \"$expected\""; exit 1; }
