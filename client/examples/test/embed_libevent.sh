#!/bin/sh
# Five answers and then the child's end.
output=$(./embed-libevent) || exit 1
[ "$(echo "$output" | grep -cx tick)" = 5 ] || { echo "it printed: $output"; exit 1; }
echo "$output" | tail -n 1 | grep -q '^the child exited' || { echo "it printed: $output"; exit 1; }
