#!/bin/sh
# contain.sh SOURCE CC: a project can contain brood (add_subdirectory) as it is, and what it then installs can be used. All that
# a packager might choose differently is chosen differently here, at once: make, folders with spaces, a build type and flags
# that are not ours, link-time optimization, and where libraries and headers go.
set -eu
source=$1 cc=$2
here=$(CDPATH='' cd -- "$(dirname "$0")" && pwd)
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT
work="$top/a folder"
mkdir -p "$work/project/brood"
(cd "$source" && cp -r CMakeLists.txt LICENSE README.md CHANGELOG.md broker client deploy proto "$work/project/brood")

# The names of our examples are free for others, our options are our own, and the program finds the broker that was built with it.
cp "$source/tests/consume/consume.c" "$work/project/hello.c"
echo 'int example(void); int example(void) { return 0; }' >"$work/project/mine.c"
cat >"$work/project/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(mine LANGUAGES C)
add_subdirectory(brood)
add_executable(hello hello.c)
target_link_libraries(hello PRIVATE Brood::brood)
add_library(mine OBJECT mine.c)
get_target_property(options mine COMPILE_OPTIONS)
foreach(name CMAKE_BUILD_TYPE CMAKE_C_STANDARD CMAKE_POSITION_INDEPENDENT_CODE BROOD_TESTS)
	file(APPEND ${CMAKE_BINARY_DIR}/seen "${name}=${${name}}\n")
endforeach()
file(APPEND ${CMAKE_BINARY_DIR}/seen "options=${options}\n")
CMAKE
quietly() {
	"$@" >"$top/log" 2>&1 || {
		tail -n 40 "$top/log"
		echo "failed: $*"
		exit 1
	}
}
configure() {
	rm -f "$work/build/seen"
	quietly cmake -G "Unix Makefiles" -S "$work/project" -B "$work/build" -DCMAKE_C_COMPILER="$cc" "$@"
}

# Twice, because what is left in the cache is seen the second time only.
configure
configure
cat >"$top/expected" <<'SEEN'
CMAKE_BUILD_TYPE=
CMAKE_C_STANDARD=
CMAKE_POSITION_INDEPENDENT_CODE=
BROOD_TESTS=OFF
options=options-NOTFOUND
SEEN
diff "$top/expected" "$work/build/seen" || { echo "brood changes the project that contains it"; exit 1; }

configure -DCMAKE_BUILD_TYPE=MinSizeRel -DCMAKE_C_FLAGS_MINSIZEREL="-O0 -DNDEBUG" -DCMAKE_C_FLAGS=-flto \
	-DCMAKE_INSTALL_LIBDIR="lib/$("$cc" -dumpmachine | sed s/-pc-/-/)" -DCMAKE_INSTALL_INCLUDEDIR=headers/brood-0
quietly cmake --build "$work/build" -j2
env -u BROOD_ADDRESS -u BROOD_FD -u BROOD_BROKER XDG_RUNTIME_DIR="$top" BROOD_IDLE_MS=100 "$work/build/hello"
for file in bin/broodd lib/libbrood.so; do
	nm -D "$work/build/brood/$file" | grep -q __assert_fail || { echo "$file does not assert"; exit 1; }
done
sh "$here/consume.sh" "$source" "$work/build" "$cc" headers/brood-0

# Where each part has a place of its own, as in Nix, these are told as they are.
configure -DCMAKE_INSTALL_LIBDIR=/elsewhere/lib -DCMAKE_INSTALL_INCLUDEDIR=/somewhere/include
told=$(PKG_CONFIG_PATH="$work/build/brood/client" pkg-config --cflags --libs brood)
case $told in
*-I/somewhere/include*-L/elsewhere/lib*) ;;
*)
	echo "brood.pc says $told"
	exit 1
	;;
esac
