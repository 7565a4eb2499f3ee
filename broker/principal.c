/*
 * principal: a name in a certificate becomes a user of this host.
 *
 * The user database is asked at each HELLO, as it may change; it may be a directory service, which is waited for.
 */
#include "principal.h"
#include "tls.h"
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_MOST 4096 /* of the user database */

/* A number without leading zeros that is nobody's "no user". */
static int parse_uid(const char *text, uint32_t *ret)
{
	unsigned long long value = strtoull(text, NULL, 10);

	if (text[strspn(text, "0123456789")] != '\0' || strlen(text) > 10 || (text[0] == '0' && text[1]))
		return 0;
	*ret = (uint32_t)value;
	return value < UINT32_MAX;
}

static int find_user(const char *user, uint32_t *ret)
{
	struct passwd entry, *found = NULL;
	char record[RECORD_MOST];

	if (parse_uid(user, ret))
		return 1;
	if (getpwnam_r(user, &entry, record, sizeof(record), &found) != 0 || !found)
		return 0;
	*ret = found->pw_uid;
	return 1;
}

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
	if (find_user(user, uid))
		return 0;
	snprintf(why, n, "the certificate is for user \"%s\", who is not known on this host", user);
	return -EACCES;
}
