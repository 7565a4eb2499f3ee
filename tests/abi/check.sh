#!/bin/sh
# check.sh: the binary interface in build/ still serves programs that were linked against the committed one. New functions
# are fine. Where a difference is meant (a struct that grows at its end), look at it and renew the baseline by update.sh.
set -eu
here=$(CDPATH='' cd -- "$(dirname "$0")" && pwd)
now=$(mktemp)
trap 'rm -f "$now"' EXIT
sh "$here/dump.sh" "$now"
abidiff --no-added-syms "$here/libbrood.abi" "$now"
grep -c '<function-decl' "$here/libbrood.abi" | sed 's/$/ functions, no difference/'
