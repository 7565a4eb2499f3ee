#!/bin/sh
# cli.sh BROOD CLIENT: the commands of the command line, with a broker of their own. CLIENT NAME registers a name and sends
# everything back. Every line that fails is printed; the status is 1 if there was one.
set -u
brood=$1
client=$2
failures=0
directory=$(mktemp -d)
mkdir -m 700 "$directory/brood"
export XDG_RUNTIME_DIR="$directory"
unset BROOD_FD
export BROOD_ADDRESS="unix:$directory/brood/sock"

# is WHAT EXPECTED ACTUAL; like WHAT PATTERN ACTUAL
is() {
	[ "$2" = "$3" ] && return
	echo "$1: \"$3\" instead of \"$2\""
	failures=$((failures + 1))
}
like() {
	case $3 in
	$2) return ;;
	esac
	echo "$1: \"$3\" is not like \"$2\""
	failures=$((failures + 1))
}
# eventually COMMAND...: within 5 s it succeeds
eventually() {
	for _ in $(seq 100); do
		"$@" >"$directory/out" 2>&1 && return
		sleep 0.05
	done
	echo "never: $*: $(cat "$directory/out")"
	failures=$((failures + 1))
}
gone() {
	! kill -0 "$1"
}

# Help begins with an example, for every command there is.
"$brood" --version | grep -q '^brood [0-9]' || is version "brood N" "$("$brood" --version)"
for command in $("$brood" help | sed -n 's/^  \([a-z]*\)  *[a-z].*$/\1/p' | sort -u); do
	[ "$command" = brood ] && continue
	is "help $command" "Example:" "$("$brood" help "$command" | head -n 1)"
	is "$command --help" "Example:" "$("$brood" "$command" --help | head -n 1)"
	"$brood" "$command" --no-such-option >/dev/null 2>&1
	case $command in
	run) is "run with a wrong option" 125 $? ;;
	*) is "$command with a wrong option" 2 $? ;;
	esac
done
"$brood" nonsense 2>/dev/null
is "an unknown command" 2 $?
like "who complains" "brood ps: ?*" "$("$brood" ps --no-such-option 2>&1)"
for command in ps nodes status; do
	like "$command with an argument" "brood $command: it takes no arguments*" "$("$brood" "$command" extra 2>&1)"
done
"$brood" run --name 'bad name' -- true 2>/dev/null
is "run with a bad name" 125 $?
like "its reason" "brood run: --name wants *" "$("$brood" run --name 'bad name' -- true 2>&1)"
"$brood" >/dev/null
is "no command" 2 $?

# Without a broker, asking fails and starts none; running plain programs works.
output=$("$brood" ps 2>&1)
is "ps without a broker" 1 $?
like "its reason" "brood ps: ?*" "$output"
env -u BROOD_ADDRESS "$brood" ps >/dev/null 2>&1
is "ps without an address" 1 $?
is "files" "" "$(ls "$directory/brood")"
"$brood" run -- true
is "run true" 0 $?
"$brood" run -- sh -c 'exit 23'
is "run exit 23" 23 $?
"$brood" run -- sh -c 'kill -KILL $$'
is "run killed" 137 $?
"$brood" run -- no-such-program 2>/dev/null
is "run missing" 127 $?
"$brood" run -- /etc/passwd 2>/dev/null
is "run not executable" 126 $?
"$brood" run 2>/dev/null
is "run nothing" 125 $?
is "run with input" "through" "$(echo through | "$brood" run -- cat)"
like "run --json" '*"code":0,"signal":0*' "$("$brood" run --json -- true 2>&1)"

# Signals pass through; a killed `brood run` leaves nothing behind.
"$brood" run -- sh -c 'trap "exit 9" TERM; echo ready; while :; do sleep 0.05; done' >"$directory/ready" &
eventually grep -q ready "$directory/ready"
kill -TERM $!
wait $!
is "TERM is passed on" 9 $?
"$brood" run -- sh -c 'echo $$; sleep 60 & wait' >"$directory/pid" &
eventually grep -q . "$directory/pid"
kill -KILL $!
wait $! 2>/dev/null
eventually gone "$(cat "$directory/pid")"

# Now with a broker.
"$BROOD_BROKER" --dir "$directory/brood" --log-level warn &
broker=$!
eventually "$brood" status
"$client" echo &
echo_pid=$!
"$brood" run --name kid -- sleep 60 &
run_pid=$!
eventually "$brood" request echo hello
is request "hello" "$("$brood" request echo hello)"
is "request from stdin" "from stdin" "$(printf 'from stdin' | "$brood" request echo -)"
is "request without body" "piped" "$(printf piped | "$brood" request echo)"
is "request --json" '{"type":"shop.Order","body":"x"}' "$("$brood" request echo --type shop.Order --json x)"
is "request, binary" '{"type":"text","body":{"base64":"/wB4"}}' "$(printf '\377\000x' | "$brood" request echo --json)"
head -c 3000000 /dev/zero | tr '\0' z >"$directory/large"
"$brood" request echo - <"$directory/large" | cmp -s - "$directory/large"
is "request of 3 MB" 0 $?
"$brood" send echo --type note 'a note'
is send 0 $?
is "send --json" '{"to":"echo","type":"note","length":3}' "$("$brood" send echo --type note --json abc)"
"$brood" send nobody x 2>/dev/null
is "send to nobody" 1 $?
like "request to nobody" '*"error":"name.unknown"*' "$("$brood" request nobody --json x 2>/dev/null)"
"$brood" request nobody x >/dev/null 2>&1
is "its status" 1 $?
"$brood" request 'No Name' x >/dev/null 2>&1
is "request to what is no name" 1 $?
"$brood" request kid --timeout 100 x >/dev/null 2>&1
is "request to one that does not listen" 1 $?

eventually "$brood" ps
table=$("$brood" ps)
like "ps has the name" "*echo*" "$table"
parent=$(echo "$table" | awk '$3 == '$run_pid' { print $1 }')
is "ps shows the child below its parent" "  $parent" "$(echo "$table" | grep -B 1 ' kid ' | head -n 1 | sed 's/^\([^ ]*\).*/  \1/')"
like "the child is indented" "  [0-9a-f]*kid*sleep*child*" "$(echo "$table" | grep ' kid ')"
json=$("$brood" ps --json)
like "ps --json" "*\"name\":\"kid\",\"parent\":\"$parent\"*" "$json"
address=$(echo "$table" | awk '$2 == "echo" { print $1 }')
is "request by address" "hi" "$("$brood" request "$address" hi)"
like "status" "*processes  4*" "$("$brood" status)"
like "status --json" "*\"pid\":$broker,*" "$("$brood" status --json)"
like "the address as an option" "*processes*" "$(env -u BROOD_ADDRESS "$brood" --address "$BROOD_ADDRESS" status)"

# What cannot be written is a failure, and what has nothing to write is none.
for command in ps status nodes "why --all" "check -- true" "request echo x" "ps --json" --help "help ps" "ps --help"; do
	output=$("$brood" $command 2>&1 >/dev/full)
	is "$command onto a full disk" "1 brood: cannot write the result" "$? $output"
done
"$brood" send echo x >&-
is "send without an output" 0 $?

# Titles come from other processes; they cannot move the cursor.
ln -s "$client" "$directory/$(printf 'x\033[2J')"
"$directory/$(printf 'x\033[2J')" odd >/dev/null &
odd_pid=$!
eventually "$brood" request odd hello
"$brood" ps | grep -q "$(printf '\033')" && is "an escape in a title" "?" "passed through"

kill -TERM "$run_pid"
wait "$run_pid"
is "run ends by the signal it passed on" 143 $?
kill "$echo_pid" "$odd_pid" "$broker"
wait
rm -rf "$directory"
exit $((failures > 0))
