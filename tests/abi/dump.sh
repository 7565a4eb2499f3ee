#!/bin/sh
# dump.sh FILE: writes the binary interface of build/lib/libbrood.so, as far as the public headers declare it, to FILE.
set -eu
CDPATH='' cd -- "$(dirname "$0")/../.."
abidw --no-corpus-path --no-comp-dir-path --no-show-locs --short-locs --drop-undefined-syms --drop-private-types \
	--headers-dir client/include --out-file "$1" build/lib/libbrood.so
