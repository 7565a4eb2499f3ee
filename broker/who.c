/*
 * who: words to sets of numbers.
 *
 * Everything is looked up here and now, so that what a configuration grants does not change until it is read again, and a
 * mistake is told with its line. The surprising rule: a group is whoever is in it at that moment, and a user who is added
 * later waits for the next reload.
 */
#include "who.h"
#include "nearest.h"
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MOST 128 /* with its NUL */
#define BLANKS " \t"

__attribute__((format(printf, 3, 4))) static int refuse(char *why, size_t n, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, n, format, args);
	va_end(args);
	return -EINVAL;
}

static int no_memory(char *why, size_t n)
{
	(void)refuse(why, n, "there is no memory for it; free some, then try again");
	return -ENOMEM;
}

/*
 * The user database.
 */

/* A number without leading zeros that is nobody's "no user". */
static int parse_uid(const char *text, uint32_t *ret)
{
	unsigned long long value = strtoull(text, NULL, 10);

	if (text[0] == '\0' || text[strspn(text, "0123456789")] || strlen(text) > 10 || (text[0] == '0' && text[1]))
		return 0;
	*ret = (uint32_t)value;
	return value < USERS_FOREIGN;
}

int who_find_user(const char *user, uint32_t *uid)
{
	const struct passwd *entry;

	if (parse_uid(user, uid))
		return 1;
	errno = 0;
	entry = getpwnam(user);
	if (entry)
		*uid = entry->pw_uid;
	return entry && entry->pw_uid < USERS_FOREIGN;
}

static int refuse_unknown(const char *what, const struct nearest *nearest, int error, char *why, size_t n)
{
	if (error != 0 && error != ENOENT && error != ESRCH)
		return refuse(why, n, "%s \"%s\" cannot be looked up: %s; try again, or write the number", what,
			      nearest->word, strerror(error));
	if (nearest->best)
		return refuse(why, n, "there is no %s \"%s\"; did you mean %s?", what, nearest->word, nearest->best);
	return refuse(why, n, "there is no %s \"%s\"; write one that exists, or a user's number", what, nearest->word);
}

/* The entry that it is like stays valid only until the next one is read. */
static void consider(struct nearest *nearest, const char *name, char best[WORD_MOST])
{
	nearest_try(nearest, name);
	if (nearest->best != name)
		return;
	snprintf(best, WORD_MOST, "%s", name);
	nearest->best = best;
}

static int find_user(const char *user, uint32_t *uid, char *why, size_t n)
{
	struct nearest nearest = { .word = user };
	const struct passwd *entry;
	char best[WORD_MOST];
	int error;

	if (who_find_user(user, uid))
		return 0;
	error = errno;
	setpwent();
	while ((entry = getpwent()))
		if (entry->pw_uid < USERS_FOREIGN)
			consider(&nearest, entry->pw_name, best);
	endpwent();
	return refuse_unknown("user", &nearest, error, why, n);
}

/*
 * Sets.
 */

int who_set_add(struct who_set *set, uint32_t uid)
{
	uint32_t *more = realloc(set->uids, (set->n_uids + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	set->uids = more;
	set->uids[set->n_uids++] = uid;
	return 0;
}

static int add_abroad(struct who_set *set, const char *word)
{
	char **more = realloc(set->abroad, (set->n_abroad + 1) * sizeof(*more)), *copy = more ? strdup(word) : NULL;

	if (more)
		set->abroad = more;
	if (!copy)
		return -ENOMEM;
	set->abroad[set->n_abroad++] = copy;
	return 0;
}

void who_set_free(struct who_set *set)
{
	for (unsigned i = 0; i < set->n_abroad; i++)
		free(set->abroad[i]);
	free(set->abroad);
	free(set->uids);
	memset(set, 0, sizeof(*set));
}

/* Those whose primary group it is are not in its list. */
static int add_primary(struct who_set *set, gid_t gid)
{
	const struct passwd *user;
	int r = 0;

	setpwent();
	while (r == 0 && (user = getpwent()))
		if (user->pw_gid == gid && user->pw_uid < USERS_FOREIGN)
			r = who_set_add(set, user->pw_uid);
	endpwent();
	return r;
}

/* Entries of users who do not exist any more are common, and nobody's. */
static int add_members(struct who_set *set, const struct group *group)
{
	uint32_t uid;
	int r = 0;

	for (char **member = group->gr_mem; r == 0 && *member; member++)
		if (who_find_user(*member, &uid))
			r = who_set_add(set, uid);
	return r == 0 ? add_primary(set, group->gr_gid) : r;
}

static int add_group(struct who_set *set, const char *name, char *why, size_t n)
{
	struct nearest nearest = { .word = name };
	const struct group *group;
	char best[WORD_MOST];
	int error;

	errno = 0;
	group = getgrnam(name);
	error = errno;
	if (group)
		return add_members(set, group) < 0 ? no_memory(why, n) : 0;
	setgrent();
	while ((group = getgrent()))
		consider(&nearest, group->gr_name, best);
	endgrent();
	return refuse_unknown("group", &nearest, error, why, n);
}

static int is_node(const char *text)
{
	return text[0] && text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789._-")] == '\0';
}

/* "alice@beta", "*@beta", "*@*": at is the sign in it. */
static int take_abroad(struct who_set *set, const char *word, const char *at, char *why, size_t n)
{
	int everybody = at == word + 1 && word[0] == '*', everywhere = strcmp(at + 1, "*") == 0;

	if (at == word)
		return refuse(why, n, "\"%s\" names no user or group; write USER@NODE, or @GROUP", word);
	if (!everywhere && !is_node(at + 1))
		return refuse(why, n, "\"%s\" is not the name of a node; write USER@NODE", at + 1);
	if (!everybody && (everywhere || memchr(word, '*', (size_t)(at - word))))
		return refuse(why, n, "\"%s\" is nobody; write USER@NODE, *@NODE, or *@*", word);
	return add_abroad(set, word) < 0 ? no_memory(why, n) : 0;
}

static int take_word(struct who_set *set, const char *word, char *why, size_t n)
{
	const char *at = strchr(word, '@');
	uint32_t uid;

	if (word[0] == '\0')
		return refuse(why, n, "there is nobody between two signs; write a user, or remove one sign");
	if (word[strcspn(word, BLANKS)])
		return refuse(why, n, "\"%s\" is not one user; put commas between users", word);
	if (strcmp(word, "*") == 0) {
		set->all = 1;
		return 0;
	}
	if (word[0] == '@' && word[1] && !strchr(word + 1, '@'))
		return add_group(set, word + 1, why, n);
	if (at)
		return take_abroad(set, word, at, why, n);
	if (find_user(word, &uid, why, n) < 0)
		return -EINVAL;
	return who_set_add(set, uid) < 0 ? no_memory(why, n) : 0;
}

/* The part of *at up to the sign or the end, without blanks around it. *at moves behind the sign. */
static int next_part(const char **at, char sign, char *to, size_t size, char *why, size_t n)
{
	const char *end = strchr(*at, sign), *from = *at + strspn(*at, BLANKS);
	const char *last = end ? end : from + strlen(from);

	*at = end ? end + 1 : last;
	while (last > from && strchr(BLANKS, last[-1]))
		last--;
	if (from > last)
		last = from;
	if ((size_t)(last - from) >= size)
		return refuse(why, n, "\"%.40s...\" is too long for a user; put commas between users", from);
	memcpy(to, from, (size_t)(last - from));
	to[last - from] = '\0';
	return 0;
}

/* 1: there is one more part, if this is not only the end of a list that has none. */
static int is_empty(const char *list)
{
	return list[strspn(list, BLANKS)] == '\0';
}

int who_set_make(struct who_set *set, const char *list, char *why, size_t n)
{
	const char *at = list;
	char word[WORD_MOST];
	int more = !is_empty(list), r = 0;

	memset(set, 0, sizeof(*set));
	while (r == 0 && more) {
		more = strchr(at, ',') != NULL;
		r = next_part(&at, ',', word, sizeof(word), why, n);
		if (r == 0)
			r = take_word(set, word, why, n);
	}
	return r;
}

/* abroad is "alice@beta", one of the set that, "*@beta", or "*@*". */
static int matches(const char *one, const char *abroad)
{
	const char *at = strrchr(abroad, '@');

	if (strcmp(one, abroad) == 0)
		return 1;
	return at && one[0] == '*' && (strcmp(one, "*@*") == 0 || strcmp(one + 1, at) == 0);
}

int who_set_has(const struct who_set *set, uint32_t uid, const char *abroad)
{
	if (uid >= USERS_FOREIGN) {
		for (unsigned i = 0; abroad && i < set->n_abroad; i++)
			if (matches(set->abroad[i], abroad))
				return 1;
		return 0;
	}
	for (unsigned i = 0; !set->all && i < set->n_uids; i++)
		if (set->uids[i] == uid)
			return 1;
	return set->all;
}

/*
 * Pairs.
 */

static int take_pair(struct who_pair *pair, const char *text, char *why, size_t n)
{
	const char *at = text;
	char from[WORD_MOST], to[WORD_MOST];
	int r;

	if (!strchr(text, '>') || strchr(text, '>') != strrchr(text, '>'))
		return refuse(why, n, "\"%s\" is not a pair; write A > B", text);
	r = next_part(&at, '>', from, sizeof(from), why, n);
	if (r == 0)
		r = next_part(&at, '>', to, sizeof(to), why, n);
	if (r == 0)
		r = take_word(&pair->from, from, why, n);
	return r == 0 ? take_word(&pair->to, to, why, n) : r;
}

int who_pairs_make(const char *list, struct who_pair **ret, unsigned *n_ret, char *why, size_t n)
{
	const char *at = list;
	char text[2 * WORD_MOST];
	int more = !is_empty(list), r = 0;
	struct who_pair *pairs;

	*ret = NULL;
	*n_ret = 0;
	while (r == 0 && more) {
		more = strchr(at, ',') != NULL;
		r = next_part(&at, ',', text, sizeof(text), why, n);
		pairs = r == 0 ? realloc(*ret, (*n_ret + 1) * sizeof(*pairs)) : NULL;
		if (r == 0 && !pairs)
			r = no_memory(why, n);
		if (r < 0)
			break;
		*ret = pairs;
		pairs += (*n_ret)++;
		memset(pairs, 0, sizeof(*pairs));
		r = take_pair(pairs, text, why, n);
	}
	return r;
}

void who_pairs_free(struct who_pair *pairs, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		who_set_free(&pairs[i].from);
		who_set_free(&pairs[i].to);
	}
	free(pairs);
}

/*
 * Checks.
 */

int who_check_user(const char *text, char *why, size_t n)
{
	uint32_t uid;

	if (is_empty(text) || text[strcspn(text, BLANKS ",@*>")])
		return refuse(why, n, "\"%.60s\" is not one user of this host; write a name or a number", text);
	if (strlen(text) >= WORD_MOST)
		return refuse(why, n, "\"%.40s...\" is too long for a user; write a name or a number", text);
	return find_user(text, &uid, why, n);
}

int who_check_list(const char *text, char *why, size_t n)
{
	struct who_set set;
	int r = who_set_make(&set, text, why, n);

	who_set_free(&set);
	return r;
}

int who_check_pairs(const char *text, char *why, size_t n)
{
	struct who_pair *pairs;
	unsigned count;
	int r = who_pairs_make(text, &pairs, &count, why, n);

	who_pairs_free(pairs, count);
	return r;
}
