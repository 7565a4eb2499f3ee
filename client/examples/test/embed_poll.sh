#!/bin/sh
# Each line that goes in comes back from the child, in order, also when there is a pause between them.
output=$({ echo one; sleep 0.2; echo two; } | ./embed-poll) || exit 1
[ "$output" = "one
two" ] || { echo "it printed: $output"; exit 1; }
