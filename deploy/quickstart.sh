#!/bin/sh
# quickstart.sh [DIRECTORY]: installs what is needed, builds brood in build/, and shows it at work: filestats counts the
# lines, words and bytes below a directory with one worker process per core; `brood ps` shows them; wc has to agree. Then
# the same over two "hosts", alpha and beta: two brokers on this one, linked over TLS, and a nursery for each. Leaves nothing
# running.
set -eu
directory=$(CDPATH='' cd -- "${1:-/usr/include}" && pwd)
CDPATH='' cd -- "$(dirname "$0")/.."
workers=$(nproc)

fail() {
	echo "quickstart.sh: $*" >&2
	exit 1
}
quietly() {
	"$@" >build/quickstart.log 2>&1 || {
		cat build/quickstart.log
		fail "failed: $*"
	}
}

echo "== Installing packages"
sh deploy/install-deps.sh
echo "== Building in build/"
mkdir -p build
tests=
[ -f build/CMakeCache.txt ] || tests=-DBROOD_TESTS=OFF # where tests are built already, they stay
quietly cmake --preset default $tests
quietly cmake --build build --target broodd brood_cli brood_nursery filestats hello hello-child

# A private broker for this demonstration only, which leaves when it was idle for .3 s. Whatever is started here has this
# directory in its environment; that is how what still runs is found.
home=$(mktemp -d)
at= # the broker's address, if it is not the private one
here() {
	env -u BROOD_ADDRESS -u BROOD_BROKER -u BROOD_FD XDG_RUNTIME_DIR="$home" BROOD_IDLE_MS=300 ${at:+BROOD_ADDRESS="$at"} "$@"
}
running() {
	grep -lz "^XDG_RUNTIME_DIR=$home\$" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3
}
# 0 when nothing runs any more; 1 if something still does after 10 s.
settle() {
	n=0
	while [ -n "$(running)" ]; do
		[ $n -lt 100 ] || return 1
		n=$((n + 1))
		sleep 0.1
	done
}
end() {
	for pid in $(running); do
		kill "$pid" 2>/dev/null || true
	done
	rm -rf "$home"
}
trap end EXIT
trap 'exit 130' INT TERM

# What there is to see: on this host, and later on both.
look() {
	here build/bin/brood ps
}
# survey [FILESTATS ARGUMENTS]: counts the directory and looks meanwhile, until the picture has the parent and all workers in it.
survey() {
	here build/bin/filestats --workers "$workers" "$@" "$directory" >"$home/totals" 2>"$home/log" &
	filestats=$!
	while kill -0 $filestats 2>/dev/null; do
		if look >"$home/ps.new" 2>/dev/null; then
			rows=$(grep -c ' child ' "$home/ps.new") || true
			[ "$rows" -lt "$workers" ] || mv "$home/ps.new" "$home/ps"
			[ ! -f "$home/ps" ] || break
		fi
	done
	wait $filestats || {
		cat "$home/log"
		fail "filestats failed"
	}
}

# The same, as often as it takes to see all workers. Sets `mine` to the totals, and leaves the picture in $home/ps.
show() {
	rm -f "$home/ps"
	tries=0
	until [ -f "$home/ps" ]; do
		tries=$((tries + 1))
		[ $tries -le 20 ] || fail "filestats was done before brood ps could look; try a larger directory"
		survey "$@"
	done
	echo "$ build/bin/brood ps      # while it runs: the parent and its $workers workers"
	cut -c1-100 "$home/ps"
	echo
	set -- $(cat "$home/totals")
	echo "filestats:             $1 lines, $2 words, $3 bytes; $(tail -n 1 "$home/log")"
	mine="$1 $2 $3"
}

echo "== build/bin/filestats $directory"
show
set -- $(find "$directory" -type f -print0 | xargs -0 cat | LC_ALL=C wc)
echo "find | xargs cat | wc: $1 lines, $2 words, $3 bytes"
counted="$1 $2 $3"
[ "$mine" = "$counted" ] || fail "they differ"

# Waits for at most 10 s until a command succeeds.
await() {
	n=0
	until "$@" >/dev/null 2>&1; do
		[ $n -lt 100 ] || fail "waited in vain for: $*"
		n=$((n + 1))
		sleep 0.1
	done
}
# on NODE COMMAND...
on() {
	node=$1
	shift
	here env BROOD_ADDRESS="unix:$home/$node/sock" "$@"
}
# Who it is for: this user, as whom both brokers know it.
nursery() {
	printf '[program "*"]\nfree-args = yes\nfor = %s@alpha\n' "$(id -un)" >"$home/nursery-$1.conf"
	on "$1" build/bin/brood-nursery --config "$home/nursery-$1.conf" 2>"$home/nursery-$1.log" &
	await named "$1" nursery
}
named() {
	on "$1" build/bin/brood ps | grep -q " $2 "
}
linked() {
	on alpha build/bin/brood request --type brood.control.GetStatus beta/@broker ''
}
# configure NODE PEER [URL]
configure() {
	cat >"$home/$1.conf" <<CONF
[broker]
node = $1
dir = $home/$1
listen = tls://127.0.0.1:0
tls-cert = $home/tls/node-$1.crt
tls-key = $home/tls/node-$1.key
tls-ca = $home/tls/ca.crt
[peer "$2"]
${3:+url = $3}
CONF
	here build/bin/broodd --config "$home/$1.conf" 2>"$home/broodd-$1.log" &
	await test -s "$home/$1/tls"
}

echo "== Two hosts: brokers alpha and beta, linked over TLS, each with a nursery"
for made in "ca" "node alpha" "node beta"; do
	quietly build/bin/brood cert $made "$home/tls"
done
configure beta alpha
configure alpha beta "$(cat "$home/beta/tls")"
await linked
nursery alpha
nursery beta
at=unix:$home/alpha/sock
look() {
	for node in alpha beta; do
		echo "-- on $node"
		on $node build/bin/brood ps
	done
}
[ "$workers" -ge 2 ] || workers=2
echo "== build/bin/filestats --hosts alpha,beta $directory"
show --hosts alpha,beta
[ "$mine" = "$counted" ] || fail "they differ"
for pid in $(running); do
	kill "$pid" 2>/dev/null || true
done

echo "== Leaving"
settle || fail "still running: $(running | tr '\n' ' ')"
[ ! -e "$home/brood/sock" ] || fail "the private broker left its socket behind"
cat <<'TXT'
The workers ended with their parent, on both hosts, and the private broker left when it was idle. Nothing is running.

Try next:
  build/bin/filestats --kill-one /usr/include     # kill a worker in the middle: the result is the same
  (cd build/bin && ./hello)                       # README.md shows the whole of parent and child
  build/bin/brood run -- sleep 100                # a program that ends when this one does, however it does
  build/bin/brood bench                           # how fast, beside a plain relay on this machine
  deploy/HOSTS.md                                 # from one host to ten
  sh tests/run.sh                                 # all tests
TXT
