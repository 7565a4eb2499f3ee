#!/bin/sh
# Starts a worker, asks it three questions through named pipes, and ends it.
set -eu
dir=$(mktemp -d)
brood worker square -- sh "$(dirname "$0")/worker.sh" &
worker=$!
brood pipe square --request --in "$dir/ask" --out "$dir/answers" &
pipe=$!
until [ -p "$dir/answers" ]; do sleep 0.1; done

for n in 2 3 12; do
	echo $n >"$dir/ask"
	read -r square <"$dir/answers"
	echo "$n * $n = $square"
done

kill $pipe && wait $pipe     # everything was passed on, or this fails
kill $worker && wait $worker
rmdir "$dir"
