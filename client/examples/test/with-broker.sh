#!/bin/sh
# with-broker.sh COMMAND...: runs it where a private broker of its own may start, in a directory that goes away again.
# Fails if the command fails, or if that broker does not leave by itself afterwards.
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
rm -rf "$directory"
exit $status
