#!/bin/sh
# consume.sh SOURCE BUILD CC [INCLUDE]: what is installed can be used by a separate project, by pkg-config and by find_package(Brood),
# shared and static. tests/consume/ is that project; its program starts itself as a child and exchanges a message. It is
# installed elsewhere than was planned when it was built. INCLUDE is the headers' folder below the prefix.
set -eu
source=$1 build=$2 cc=$3 include=${4-include}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
consume=$source/tests/consume

# A private broker that leaves soon. The shared library finds it where both were installed; a program that contains the
# static one has to be told.
use() {
	echo "== $*"
	env -u BROOD_ADDRESS -u BROOD_FD -u BROOD_BROKER XDG_RUNTIME_DIR="$work/run" BROOD_IDLE_MS=100 "$@"
}
use_static() {
	use env BROOD_BROKER="$prefix/bin/broodd" "$@"
}
# Every process that runs in that environment, until there is none: at most 10 s.
settled() {
	for _ in $(seq 100); do
		left=$(grep -lz "^XDG_RUNTIME_DIR=$work/run$" /proc/[0-9]*/environ 2>/dev/null) || return 0
		sleep 0.1
	done
	echo "still running: $left"
	return 1
}

mkdir -m 700 "$work/run"
cmake --install "$build" --prefix "$prefix" >"$work/install.log"
for file in $include/brood.h $include/brood/pb.h $include/brood/event.h $include/brood/control.proto $include/brood/nursery.proto \
	bin/broodd bin/brood bin/brood-nursery; do
	[ -s "$prefix/$file" ] || { echo "not installed: $file"; exit 1; }
done

if [ -d "$build/client/man/man3" ]; then # scdoc was there
	for page in man1/brood.1 man3/brood_spawn.3 man3/brood_kill.3 man8/broodd.8 man8/brood-nursery.8; do
		[ -s "$(find "$prefix" -path "*/$page")" ] || { echo "not installed: $page"; exit 1; }
	done
fi

for unit in system/broodd.service system/broodd.socket user/broodd.service user/broodd.socket; do
	[ -s "$prefix/lib/systemd/$unit" ] || { echo "not installed: $unit"; exit 1; }
done
grep -q '^ExecStart="/.*/broodd" --dir' "$prefix/lib/systemd/system/broodd.service"

PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name brood.pc)")
export PKG_CONFIG_PATH
lib=$(pkg-config --variable=libdir brood)
echo "== pkg-config: $(pkg-config --cflags --libs brood)"
"$cc" -Wall -Wextra -Werror -o "$work/shared" "$consume/consume.c" $(pkg-config --cflags --libs brood) -Wl,-rpath,"$lib"
"$cc" -Wall -Wextra -Werror -o "$work/static" "$consume/consume.c" $(pkg-config --cflags brood) \
	$(pkg-config --static --libs brood | sed 's/-lbrood/-l:libbrood.a/')
use "$work/shared"
use_static "$work/static"

cmake -G Ninja -S "$consume" -B "$work/cmake" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" >"$work/cmake.log" || {
	cat "$work/cmake.log"
	exit 1
}
cmake --build "$work/cmake" >>"$work/cmake.log" || {
	cat "$work/cmake.log"
	exit 1
}
use "$work/cmake/consume-shared"
use_static "$work/cmake/consume-static"
use "$prefix/bin/brood" --version
# Nobody listens there, and there is no certificate; but it gets as far as to say so.
if [ -e "$lib/brood/libbrood-tls.so.0" ]; then
	use env BROOD_ADDRESS=tls://127.0.0.1:1 "$prefix/bin/brood" status 2>"$work/tls" && exit 1
	grep -q BROOD_TLS_CA "$work/tls" || { cat "$work/tls"; exit 1; }
fi
settled
