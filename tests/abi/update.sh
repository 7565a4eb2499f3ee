#!/bin/sh
# update.sh: makes the binary interface of build/ (the default preset, gcc) the new baseline. Commit it with its reason.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
sh "$here/dump.sh" "$here/libbrood.abi"
git -C "$here" diff --stat -- libbrood.abi
