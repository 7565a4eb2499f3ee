#!/bin/sh
# shell.sh PARENT: the two scripts work with the programs that are here.
PATH=$PWD:$PATH
expected='2 * 2 = 4
3 * 3 = 9
12 * 12 = 144'
output=$(sh "$1") || { echo "it failed with $?"; exit 1; }
[ "$output" = "$expected" ] || { echo "it printed \"$output\""; exit 1; }
