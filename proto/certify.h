/*
 * certify: a small certificate authority in a directory, enough for brokers and their clients.
 *
 * The directory has ca.crt, ca.key and ca.crl, and gets NAME.crt and NAME.key of everybody who is certified, NAME being
 * "server-HOST", "node-NODE" or "client-USER". Keys are of the curve P-256, in files of mode 0600. Nothing that is there is
 * ever overwritten, but for the list ca.crl.
 */
#ifndef BROOD_CERTIFY_H
#define BROOD_CERTIFY_H

#include "tls.h"
#include <limits.h>
#include <stdio.h>

enum certify_role { CERTIFY_SERVER, CERTIFY_NODE, CERTIFY_CLIENT };

struct certify_order {
	enum certify_role role;
	const char *directory;
	const char
		*names; /* a server's hosts and addresses, separated by commas; a node's name; a client's user[@node] */
	unsigned days;  /* 1 to 36500 */
};

/* All of these: 0; or -EINVAL with a name of error.c and the reason. Nothing half-made is left behind. */

/* Make the authority: the directory (0700, if it is not there), its key, certificate, and an empty list. */
int certify_ca(const char *directory, unsigned days, struct tls_fault *why);
/* A key and a certificate for somebody. base: path of what was made, without .crt or .key. */
int certify(const struct certify_order *, char base[PATH_MAX], struct tls_fault *why);
/* Enter a certificate into the list. */
int certify_revoke(const char *directory, const char *certificate, struct tls_fault *why);
/* Print what is in a file of certificates or a list, for people. */
int certify_show(const char *path, FILE *to, struct tls_fault *why);

#endif
