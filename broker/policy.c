/*
 * policy: the answers.
 *
 * Rules only add: there is none that takes away what another one gives, so their order does not matter, and a line that is
 * left out is less. The surprising rule: an empty list of `connect` or `register` is nobody, and one that is not set is
 * everybody.
 */
#include "policy.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct policy policy_default = { .connect = { .all = 1 }, .names = { .all = 1 } };

/*
 * Making.
 */

static int no_memory(char *why, size_t n)
{
	snprintf(why, n, "there is no memory for the policy; free some, then try again");
	return -ENOMEM;
}

/* Root and the broker's own user belong to every set of those who may. */
static int make_set(struct who_set *set, const char *list, uint32_t owner, char *why, size_t n)
{
	int r = who_set_make(set, list ? list : "", why, n);

	if (r == 0 && (who_set_add(set, 0) < 0 || who_set_add(set, owner) < 0))
		r = no_memory(why, n);
	return r;
}

static int add_name(struct policy *policy, const struct config_named *named, uint32_t owner, char *why, size_t n)
{
	struct policy_name *name = calloc(1, sizeof(*name));
	int r;

	if (!name)
		return no_memory(why, n);
	strcpy(name->text, named->name);
	HASH_ADD_STR(policy->shared, text, name);
	if (!name->hh.tbl) {
		free(name);
		return no_memory(why, n);
	}
	r = make_set(&name->users, named->users, owner, why, n);
	if (r == 0 && !who_find_user(named->owner, &name->owner)) {
		snprintf(why, n, "[name \"%s\"] owner: there is no user \"%.60s\" any more; write one that exists",
			 name->text, named->owner);
		r = -EINVAL;
	}
	return r;
}

static int make_rules(struct policy *policy, enum policy_verb verb, const char *list, char *why, size_t n)
{
	struct who_rules *rules = &policy->rules[verb];

	return who_pairs_make(list ? list : "", &rules->pairs, &rules->n, why, n);
}

int policy_make(struct policy *policy, const struct config *config, uint32_t owner, char *why, size_t n)
{
	const struct config_policy *c = &config->policy;
	int r;

	memset(policy, 0, sizeof(*policy));
	r = make_set(&policy->connect, c->connect ? c->connect : "*", owner, why, n);
	if (r == 0)
		r = make_set(&policy->names, c->names ? c->names : "*", owner, why, n);
	if (r == 0)
		r = make_rules(policy, POLICY_SEND, c->send, why, n);
	if (r == 0)
		r = make_rules(policy, POLICY_PARENT, c->parent, why, n);
	if (r == 0)
		r = make_rules(policy, POLICY_LIST, c->list, why, n);
	for (unsigned i = 0; r == 0 && i < config->n_named; i++)
		if (strcmp(config->named[i].section, "name") == 0)
			r = add_name(policy, &config->named[i], owner, why, n);
	return r;
}

void policy_free(struct policy *policy)
{
	struct policy_name *name;

	who_set_free(&policy->connect);
	who_set_free(&policy->names);
	for (int i = 0; i < POLICY_VERBS; i++)
		who_pairs_free(policy->rules[i].pairs, policy->rules[i].n);
	while ((name = policy->shared)) {
		HASH_DEL(policy->shared, name);
		who_set_free(&name->users);
		free(name);
	}
	memset(policy, 0, sizeof(*policy));
}

/*
 * Answering.
 */

static const char *abroad(const struct policy *policy, uint32_t uid)
{
	return uid >= USERS_FOREIGN && policy->abroad ? policy->abroad(policy->abroad_data, uid) : NULL;
}

int policy_may_connect(const struct policy *policy, uint32_t uid)
{
	return who_set_has(&policy->connect, uid, abroad(policy, uid));
}

int policy_may(const struct policy *policy, enum policy_verb verb, uint32_t from, uint32_t to)
{
	const struct who_rules *rules = &policy->rules[verb];
	const char *from_abroad = abroad(policy, from), *to_abroad = abroad(policy, to);

	if (from == to)
		return 1;
	for (unsigned i = 0; i < rules->n; i++)
		if (who_set_has(&rules->pairs[i].from, from, from_abroad) &&
		    who_set_has(&rules->pairs[i].to, to, to_abroad))
			return 1;
	return 0;
}

const struct policy_name *policy_shared(const struct policy *policy, const char *name)
{
	struct policy_name *found;

	HASH_FIND_STR(policy->shared, name, found);
	return found;
}

int policy_may_use(const struct policy *policy, const struct policy_name *name, uint32_t uid)
{
	return uid == name->owner || who_set_has(&name->users, uid, abroad(policy, uid));
}

int policy_may_hold(const struct policy *policy, uint32_t uid, const char *name)
{
	const struct policy_name *shared = policy_shared(policy, name);

	return shared ? uid == shared->owner : who_set_has(&policy->names, uid, abroad(policy, uid));
}

int policy_share_any(const struct policy *policy, uint32_t user, uint32_t owner)
{
	const struct policy_name *name;

	for (name = policy->shared; name; name = name->hh.next)
		if (name->owner == owner && policy_may_use(policy, name, user))
			return 1;
	return 0;
}
