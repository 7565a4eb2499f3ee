#!/bin/sh
# with-broker.sh COMMAND...: runs it where a private broker of its own may start, in a directory that goes away again.
# Fails if the command fails, if that broker does not leave by itself afterwards, or if anything remains of what the
# command started: processes are known by that directory in their environment.
set -u
directory=$(mktemp -d) || exit 1
export XDG_RUNTIME_DIR="$directory" BROOD_IDLE_MS=100
unset BROOD_ADDRESS BROOD_FD
"$@"
status=$?
for _ in $(seq 100); do
	[ -S "$directory/brood/sock" ] || break
	sleep 0.05
done
if [ -S "$directory/brood/sock" ]; then
	echo "the private broker is still there" >&2
	status=1
fi
remaining() {
	env -u XDG_RUNTIME_DIR grep -lsa -- "XDG_RUNTIME_DIR=$directory" /proc/[0-9]*/environ
}
for _ in $(seq 40); do # a broker that removed its socket is still to exit
	[ -n "$(remaining)" ] || break
	sleep 0.05
done
for file in $(remaining); do
	echo "left running: $file $(tr '\0' ' ' <"${file%environ}cmdline")" >&2
	status=1
done
rm -rf "$directory"
exit $status
