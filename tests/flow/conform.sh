#!/bin/sh
# conform.sh BROOD CLIENT: `brood conform` passes a client that does it right, and fails each mistake at its check.
set -u
brood=$1
client=$2
failures=0

wrong() {
	echo "$*"
	failures=$((failures + 1))
}

output=$("$brood" conform -- "$client") || wrong "a good client fails: $output"
[ "$(echo "$output" | grep -c '^ok')" -eq 30 ] || wrong "not 30 checks: $output"

output=$("$brood" conform --level 1 -- "$client") || wrong "a good client fails at level 1: $output"
[ "$(echo "$output" | grep -c '^ok')" -eq 41 ] || wrong "not 41 checks: $output"

# found MISTAKE CHECK: REASON: this check fails, for this reason.
found() {
	output=$("$brood" conform --only "${2%%: *}" -- "$client" "$1") && wrong "$1 passes"
	first=$(echo "$output" | grep -m 1 '^FAIL')
	case $first in
	*"$2"*) ;;
	*) wrong "$1 fails with \"$first\" instead of \"$2\"" ;;
	esac
}
found --lose "100,000 messages in order, beyond a window: number"
found --retype "sends a message back: number 0 came back with type \"conform.other\""
found --shorten "bodies of 1 MiB, in fragments: number 0 came back with 1048575 bytes"
found --silent "answers a request: a request ended with:"
found --rude "says goodbye: its connection ended without a goodbye"
found --badly "exits with 0: it ended with 3"

output=$("$brood" conform --json -- /nonexistent/client) && wrong "no client passes"
[ "$(echo "$output" | grep -c '"ok":false')" -eq 30 ] || wrong "a client that does not start: $output"
output=$("$brood" conform --only HOLD -- "$client") || wrong "one check fails: $output"
[ "$(echo "$output" | grep -c .)" -eq 1 ] || wrong "not one check: $output"
output=$("$brood" conform --only "exits with 0" -- "$client") || wrong "a check and what it rests on fail: $output"
[ "$(echo "$output" | grep -c '^ok')" -eq 5 ] || wrong "not a check and what it rests on: $output"
"$brood" conform --only "RESET: begins" -- "$client" 2>/dev/null
[ $? -eq 2 ] || wrong "no check is no mistake"
"$brood" conform 2>/dev/null
[ $? -eq 2 ] || wrong "no arguments are no mistake"
"$brood" conform --level 2 -- "$client" 2>/dev/null
[ $? -eq 2 ] || wrong "level 2 is no mistake"
exit $((failures > 0))
