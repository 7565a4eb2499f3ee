/*
 * who: see who.h. The surprising rule: digits alone are a pid, and only if there is no such process, a name.
 */
#include "who.h"
#include "address.h"
#include "output.h"
#include <errno.h>
#include <string.h>

struct question {
	brood *b;
	char node[80]; /* whose broker is asked; "": ours */
	Brood__Control__Why why;
};

static int ask(const struct question *q, struct who *who)
{
	const void *answer;
	int rc = session_call_broker(q->b, q->node, &q->why.base, &brood__control__endings__descriptor, &who->msg,
				     &answer);
	if (rc == 0)
		who->known = answer;
	return rc;
}

static int ask_for_pid(struct question *q, const char *digits, struct who *who)
{
	long pid = cli_number(digits, 1, INT32_MAX);
	if (pid < 0)
		return -ESRCH;
	q->why.pid = (uint32_t)pid;
	int rc = ask(q, who);
	q->why.pid = 0;
	return rc;
}

/* "beta/resize" is resize of the node beta. Returns what is behind the node. */
static const char *take_node(struct question *q, const char *text)
{
	const char *slash = text ? strchr(text, '/') : NULL;
	if (!slash)
		return text;
	snprintf(q->node, sizeof q->node, "%.*s", (int)(slash - text), text);
	return slash + 1;
}

/* What is neither a name nor an address is refused as it is elsewhere. */
static int check(brood *b, const char *text)
{
	brood_peer *peer = NULL;
	int rc = text ? brood_find(b, &peer, text, NULL) : 0;
	brood_release(peer);
	return rc;
}

int who_ask(brood *b, const char *text, unsigned most, int all, struct who *who)
{
	struct question q = { .b = b, .node = "", .why = BROOD__CONTROL__WHY__INIT };
	*who = (struct who){ NULL, NULL };
	q.why.most = most;
	q.why.all = all;
	int wrong = check(b, text);
	if (wrong < 0)
		return wrong;
	text = take_node(&q, text);
	if (text && id_parse(text, &q.why.id) < 0) {
		int rc = *text && strspn(text, "0123456789") == strlen(text) ? ask_for_pid(&q, text, who) : -ESRCH;
		if (rc != -ESRCH)
			return rc;
		q.why.name = (char *)(uintptr_t)text;
	}
	return ask(&q, who);
}

void who_deinit(struct who *who)
{
	brood_msg_release(who->msg);
	*who = (struct who){ NULL, NULL };
}

int who_has_name(const Brood__Control__Process *p, const char *name)
{
	size_t n = strlen(name);
	for (const char *at = p->name; *at; at += strspn(at, " ")) {
		size_t length = strcspn(at, " ");
		if (length == n && memcmp(at, name, n) == 0)
			return 1;
		at += length;
	}
	return 0;
}

/* Its first name, or else its program. */
static const char *label(const char *names, const char *title, const char *address, uint32_t pid, char to[WHO_TEXT])
{
	char safe[72], number[24] = "";
	size_t n = strcspn(names, " ");
	const char *called = n ? names : *title ? title : "a process";
	snprintf(to, WHO_TEXT, "%.*s", (int)(n ? n : strlen(called)), called);
	output_safe(to, safe, sizeof safe);
	if (pid)
		snprintf(number, sizeof number, ", pid %u", pid);
	snprintf(to, WHO_TEXT, "%s (%s%s)", safe, address, number);
	return to;
}

const char *who_living(const Brood__Control__Process *p, char to[WHO_TEXT])
{
	return label(p->name, p->title, p->address, p->pid, to);
}

const char *who_ended(const Brood__Control__Ending *e, char to[WHO_TEXT])
{
	return label(e->name, e->title, e->address, e->pid, to);
}
