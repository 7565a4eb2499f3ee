#!/bin/sh
# It ends when its own process has ended, and when it is told to, long before its own process would have.
check() { # text, line...
	printed=$1
	shift
	for line; do
		echo "$printed" | grep -qx "$line" || { echo "no line \"$line\" in: $printed"; exit 1; }
	done
	[ "$(echo "$printed" | wc -l)" = $# ] || { echo "it printed more: $printed"; exit 1; }
}

output=$(./embed-epoll 0.3) || { echo "it failed with $?"; exit 1; }
check "$output" "at work" "my process exited with code 0" "leaving: my process has ended" "brood's child exited with code 0"

log=$XDG_RUNTIME_DIR/log
./embed-epoll 1000 >"$log" &
until grep -q "at work" "$log"; do sleep 0.02; done
kill -TERM $!
wait $! || { echo "it failed with $?"; exit 1; }
check "$(cat "$log")" "at work" "leaving: a signal" "my process was killed by signal 15" "brood's child exited with code 0"
