#!/bin/sh
# two_families.sh PROGRAM OWN-LINE: five answers, the end of brood's child, the end of the program's own process by the
# program's own means, and nothing else.
output=$("$1") || { echo "it failed with $?"; exit 1; }
[ "$(echo "$output" | grep -cx tick)" = 5 ] || { echo "not five answers: $output"; exit 1; }
[ "$(echo "$output" | grep -cx "brood's child exited with code 0")" = 1 ] || { echo "no end of the child: $output"; exit 1; }
[ "$(echo "$output" | grep -cx "$2")" = 1 ] || { echo "no end of its own process: $output"; exit 1; }
[ "$(echo "$output" | wc -l)" = 7 ] || { echo "it printed more: $output"; exit 1; }
