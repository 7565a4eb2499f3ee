#!/bin/sh
# scripts.sh SOURCE: the shell scripts are read by sh without a complaint, and those that go to their own folder get there also
# where CDPATH knows another one of that name.
set -eu
cd "$1"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
seen=0
for script in $(find deploy client tests -name '*.sh') .ci/run; do
	[ "$script" = .ci/run ] || sh -n "$script"
	line=$(grep -m 1 'cd .*"[$](dirname' "$script") || continue
	mkdir -p "$work/right/${script%/*}" "$work/wrong/${script%/*}"
	printf '%s\n' "$line" 'echo "${here-$PWD}"' >"$work/right/$script"
	got=$(cd "$work/right" && CDPATH=$work/wrong sh "$script")
	[ "$got" = "$work/right" ] || [ "$got" = "$work/right/${script%/*}" ] || {
		echo "$script: with CDPATH its folder is" $got
		exit 1
	}
	seen=$((seen + 1))
done
[ $seen -gt 0 ] || { echo "no script goes to its folder"; exit 1; }
