#!/bin/sh
# install-deps.sh [--tests | --ci]: installs the Debian 12 packages that brood needs.
#
# Without an option: to build brood. --tests: also to run its tests. --ci: also for .ci/run. As root, or by sudo. Where
# everything is there already, it asks dpkg only, needs no rights and no network, and is done at once.
set -eu

# A compiler and CMake; then the libraries (README.md says what each is for).
packages="gcc libc6-dev cmake make ninja-build pkg-config
libevent-dev libprotobuf-c-dev protobuf-c-compiler libmd-dev libinih-dev libjansson-dev libssl-dev uthash-dev scdoc"
tests="git libuv1-dev libglib2.0-dev libcmocka-dev python3 python3-protobuf protobuf-compiler g++ systemd
iproute2 nftables python3-yaml"
ci="clang libclang-rt-14-dev lld clang-format abigail-tools"

case "${1-}" in
"") ;;
--tests) packages="$packages $tests" ;;
--ci) packages="$packages $tests $ci" ;;
*)
	echo "usage: install-deps.sh [--tests | --ci]" >&2
	exit 2
	;;
esac

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
	echo "install-deps.sh knows Debian 12 only. Install what corresponds to:" $packages >&2
	exit 1
fi

missing=
for package in $packages; do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || state=
	[ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "These packages are missing and only root can install them:$missing" >&2
		exit 1
	fi
	sudo=sudo
fi
echo "installing$missing"
apt() {
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 "$@"
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt update && apt install -y --no-install-recommends $missing; } >"$log" 2>&1; then
	tail -n 30 "$log" >&2
	echo "install-deps.sh: apt-get failed, see above" >&2
	exit 1
fi
