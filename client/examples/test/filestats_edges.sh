#!/bin/sh
# Words that go on in the next file, bytes that are not ASCII, empty files, names with blanks, unreadable files, symbolic
# links, an empty directory.
directory=$XDG_RUNTIME_DIR/files
mkdir -p "$directory/sub/deeper" "$XDG_RUNTIME_DIR/empty"
printf 'no newline' >"$directory/a"
printf 'goes on\n' >"$directory/b"
: >"$directory/empty"
printf '\377\376' >"$directory/not ascii"
printf ' \377x\377 \t\v\f\r\n\001\002' >"$directory/sub/mixed"
printf 'unbroken' >"$directory/sub/deeper/c"
head -c 300000 /dev/urandom >"$directory/sub/deeper/random"
ln -s a "$directory/link"
ln -s . "$directory/loop"

check() {
	expected=$(find "$1" -type f -print0 | xargs -0 -r cat | LC_ALL=C wc | awk '{ print $1, $2, $3 }')
	output=$(./filestats "$1" | awk '{ print $1, $2, $3 }')
	[ "$output" = "$expected" ] || { echo "$1: $output, wc says: $expected"; exit 1; }
}
check "$directory"
check "$directory/sub"
check "$XDG_RUNTIME_DIR/empty"

json=$(./filestats --json --list "$directory/sub/deeper" | tail -n 1)
echo "$json" | grep -q '"files":2,"unreadable":0' || { echo "json: $json"; exit 1; }
./filestats "$directory/missing" 2>/dev/null && { echo "a missing directory is no error"; exit 1; }
[ "$(id -u)" -eq 0 ] && exit 0 # who may read everything
chmod 0 "$directory/a"
./filestats "$directory" >/dev/null 2>&1 && { echo "an unreadable file is no error"; exit 1; }
exit 0
