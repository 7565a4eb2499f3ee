#!/bin/sh
# prepare.sh AUTHORITY HOSTS NAME...: makes an authority, and for each host a directory HOSTS/NAME with its certificate and a
# broodd.conf that links it with all others, which are reached by their names. Again, it changes nothing.
set -eu
umask 077
authority=$1 hosts=$2
shift 2
[ -f "$authority/ca.key" ] || brood cert ca "$authority"
for name in "$@"; do
	to=$hosts/$name
	mkdir -p "$to"
	[ -f "$authority/node-$name.key" ] || brood cert node "$name" "$authority"
	cp "$authority/node-$name.crt" "$to/node.crt"
	cp "$authority/node-$name.key" "$to/node.key"
	cp "$authority/ca.crt" "$authority/ca.crl" "$to"
	{
		cat <<CONF
[broker]
node = $name
listen = tls://0.0.0.0:7433
tls-cert = /etc/brood/node.crt
tls-key = /etc/brood/node.key
tls-ca = /etc/brood/ca.crt
tls-crl = /etc/brood/ca.crl
CONF
		for peer in "$@"; do
			[ "$peer" = "$name" ] || printf '\n[peer "%s"]\nurl = tls://%s:7433\n' "$peer" "$peer"
		done
	} >"$to/broodd.conf"
done
