#!/bin/sh
# update.sh: makes the binary interface of build/ (the default preset, gcc) the new baseline. Commit it with its reason.
set -eu
here=$(CDPATH='' cd -- "$(dirname "$0")" && pwd)
sh "$here/dump.sh" "$here/libbrood.abi"
echo "renewed tests/abi/libbrood.abi; read git diff before you commit it"
