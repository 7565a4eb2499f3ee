#!/bin/sh
# filestats.sh [--kill-one]: the totals are wc's, every SHA-256 is sha256sum's, and a killed worker changes neither.
directory=/usr/include
mkdir -p "$XDG_RUNTIME_DIR/out"
list=$XDG_RUNTIME_DIR/out/list
./filestats --list "$@" "$directory" >"$list" 2>"$list.log" || { cat "$list.log"; exit 1; }
cat "$list.log"
case " $* " in
*" --kill-one "*) ended=1 ;;
*) ended=0 ;;
esac
grep -q " $ended ended early" "$list.log" || { echo "not $ended worker ended early"; exit 1; }

expected=$(find "$directory" -type f -print0 | xargs -0 cat | LC_ALL=C wc | awk '{ print $1, $2, $3 }')
output=$(tail -n 1 "$list" | awk '{ print $1, $2, $3 }')
[ "$output" = "$expected" ] || { echo "totals: $output, wc says: $expected"; exit 1; }

sed '$d' "$list" | awk '{ print $4 "  " substr($0, index($0, $4) + 65) }' | sha256sum --check --quiet --strict || exit 1
files=$(find "$directory" -type f | wc -l)
listed=$(sed '$d' "$list" | wc -l)
[ "$listed" = "$files" ] || { echo "$listed files listed, there are $files"; exit 1; }
