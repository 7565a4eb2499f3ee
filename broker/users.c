/*
 * users: one record for each user that was ever asked about, local ones with the name that the system has for them.
 *
 * A local name is looked up once: what the system says of a uid does not change while it has processes. The surprising rule:
 * the cache of local users is emptied when it is full, but numbers of foreign users stay, because processes have them.
 */
#include "users.h"
#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#define LOCAL_MOST 4096u
#define PASSWD_ROOM 16384u

struct user {
	UT_hash_handle hh; /* by_text: foreign; by_uid: local */
	uint32_t uid;
	char text[USERS_TEXT];
};

static void forget_local(struct users *u)
{
	struct user *one, *next;

	for (one = u->by_uid; one; one = next) {
		next = one->hh.next;
		HASH_DELETE(hh, u->by_uid, one);
		free(one);
	}
	u->n_local = 0;
}

void users_deinit(struct users *u)
{
	forget_local(u);
	HASH_CLEAR(hh, u->by_text);
	for (uint32_t i = 0; i < u->n; i++)
		free(u->foreign[i]);
	free(u->foreign);
	*u = (struct users){ 0 };
}

int users_is_name(const char *name)
{
	size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

	return n > 0 && n < USERS_NAME && name[n] == '\0' && name[0] != '-';
}

/* For one more. The array is full whenever it has a power of two. */
static int make_room(struct users *u)
{
	struct user **more;

	if (u->n & (u->n - 1))
		return 0;
	more = realloc(u->foreign, (u->n ? 2 * (size_t)u->n : 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	u->foreign = more;
	return 0;
}

static struct user *foreign_add(struct users *u, const char *text)
{
	struct user *one;

	if (u->n >= USERS_MOST || make_room(u) < 0)
		return NULL;
	one = calloc(1, sizeof(*one));
	if (!one)
		return NULL;
	one->uid = USERS_FOREIGN + u->n;
	strcpy(one->text, text);
	HASH_ADD_STR(u->by_text, text, one);
	if (!one->hh.tbl) {
		free(one);
		return NULL;
	}
	u->foreign[u->n++] = one;
	return one;
}

uint32_t users_foreign(struct users *u, const char *user, const char *node)
{
	char text[USERS_TEXT];
	struct user *one;

	if (!users_is_name(user) || !name_is_valid(node))
		return 0;
	snprintf(text, sizeof(text), "%s@%s", user, node);
	HASH_FIND_STR(u->by_text, text, one);
	if (!one)
		one = foreign_add(u, text);
	return one ? one->uid : 0;
}

static void name_of(uint32_t uid, char to[USERS_TEXT])
{
	char room[PASSWD_ROOM];
	struct passwd entry, *found = NULL;

	if (getpwuid_r(uid, &entry, room, sizeof(room), &found) == 0 && found && users_is_name(found->pw_name))
		strcpy(to, found->pw_name);
	else
		snprintf(to, USERS_TEXT, "%" PRIu32, uid);
}

static const char *local_text(struct users *u, uint32_t uid)
{
	static const char nobody[] = "nobody";
	struct user *one;

	HASH_FIND(hh, u->by_uid, &uid, sizeof(uid), one);
	if (one)
		return one->text;
	if (u->n_local >= LOCAL_MOST)
		forget_local(u);
	one = calloc(1, sizeof(*one));
	if (!one)
		return nobody;
	one->uid = uid;
	name_of(uid, one->text);
	HASH_ADD(hh, u->by_uid, uid, sizeof(uid), one);
	if (!one->hh.tbl) {
		free(one);
		return nobody;
	}
	u->n_local++;
	return one->text;
}

const char *users_foreign_text(void *users, uint32_t uid)
{
	const struct users *u = users;

	return user_is_foreign(uid) && uid - USERS_FOREIGN < u->n ? u->foreign[uid - USERS_FOREIGN]->text : NULL;
}

const char *users_text(struct users *u, uint32_t uid)
{
	const char *text = user_is_foreign(uid) ? users_foreign_text(u, uid) : local_text(u, uid);

	return text ? text : "nobody";
}

/*
 * Lists.
 */

/* The next word of a list, and its length. NULL at the end. */
static const char *next_word(const char **at, size_t *length)
{
	const char *word = *at + strspn(*at, " ");

	*length = strcspn(word, " ");
	*at = word + *length;
	return *length > 0 ? word : NULL;
}

int users_listed(const char *list, const char *user)
{
	size_t n = strlen(user), length;
	const char *word;

	while (list && (word = next_word(&list, &length)))
		if (length == n && memcmp(word, user, n) == 0)
			return 1;
	return 0;
}

int users_node_listed(const char *list, const char *node)
{
	size_t n = strlen(node), length;
	const char *word;

	while (list && (word = next_word(&list, &length)))
		if (length > n && word[length - n - 1] == '@' && memcmp(word + length - n, node, n) == 0)
			return 1;
	return 0;
}

/* The list without as many words in front as make room for n bytes more. */
static const char *cut(const char *list, size_t n, size_t most)
{
	size_t length;

	while (*list && strlen(list) + n > most)
		if (!next_word(&list, &length))
			break;
	return list + strspn(list, " ");
}

int users_list_add(char **list, const char *user, size_t most)
{
	const char *old;
	char *fresh;
	size_t n;

	if (users_listed(*list, user) || strlen(user) > most)
		return 0;
	old = *list ? cut(*list, strlen(user) + 1, most) : "";
	n = strlen(old) + strlen(user) + 2;
	fresh = malloc(n);
	if (!fresh)
		return -ENOMEM;
	snprintf(fresh, n, "%s%s%s", old, *old ? " " : "", user);
	free(*list);
	*list = fresh;
	return 0;
}
