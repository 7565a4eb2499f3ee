#!/bin/sh
# scp and systemctl of the lab: what they are asked for is done outside of the host, by pages.py. Its answer and status are theirs.
ask=$(mktemp -d /var/lib/asked/XXXXXX)
printf '%s\n' "$PWD" "${0##*/}" "$(id -un)" "$@" >"$ask/new"
mv "$ask/new" "$ask/question"
until [ -e "$ask/status" ]; do sleep 0.02; done
cat "$ask/answer"
exit "$(cat "$ask/status")"
