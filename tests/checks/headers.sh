#!/bin/sh
# headers.sh INCLUDE: the public headers compile alone, twice and in use, without a warning, as C99, C11, C++11 and C++20,
# by every compiler that is installed (gcc and clang); with g++ also by who asks for nullptr instead of 0, as macros expand in programs.
set -eu
include=$1
here=$(CDPATH='' cd -- "$(dirname "$0")" && pwd)
warnings="-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"
compiled=0

compile() { # language standard compiler file
	"$3" -x "$1" -std="$2" $warnings $([ "$3" != g++ ] || echo -Wzero-as-null-pointer-constant) -I "$include" -fsyntax-only "$4" || {
		echo "$3 -std=$2 refuses $4"
		exit 1
	}
	compiled=$((compiled + 1))
}

alone=$(mktemp)
trap 'rm -f "$alone"' EXIT
for pair in "c c99 gcc" "c c11 gcc" "c++ c++11 g++" "c++ c++20 g++" \
	"c c99 clang" "c c11 clang" "c++ c++11 clang++" "c++ c++20 clang++"; do
	set -- $pair
	command -v "$3" >/dev/null || continue
	for header in brood.h brood/pb.h brood/event.h; do
		printf '#include <%s>\n#include <%s>\n' "$header" "$header" >"$alone"
		compile "$1" "$2" "$3" "$alone"
	done
	compile "$1" "$2" "$3" "$here/use_$([ "$1" = c ] && echo c.c || echo cxx.cc)"
done
echo "$compiled compilations"
[ "$compiled" -ge 16 ] || { echo "headers.sh needs at least gcc and g++"; exit 1; }
