/*
 * principal: a name in a certificate becomes a user of this host.
 *
 * The user database is asked at each HELLO, as it may change; it may be a directory service, which is waited for.
 */
#include "principal.h"
#include "tls.h"
#include "who.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

int principal_uid(const char *principal, const char *node, uint32_t *uid, char *why, size_t n)
{
	char user[TLS_USER_MOST];
	const char *at = strchr(principal, '@');
	size_t length = at ? (size_t)(at - principal) : strlen(principal);

	snprintf(user, sizeof(user), "%.*s", (int)length, principal);
	if (length == 0 || length >= sizeof(user)) {
		snprintf(why, n, "the certificate names no user");
		return -EACCES;
	}
	if (at && strcmp(at + 1, node) != 0) {
		snprintf(why, n, "the certificate is for node \"%.64s\", and this is \"%.64s\"", at + 1, node);
		return -EACCES;
	}
	if (who_find_user(user, uid))
		return 0;
	snprintf(why, n, "the certificate is for user \"%s\", who is not known on this host", user);
	return -EACCES;
}
