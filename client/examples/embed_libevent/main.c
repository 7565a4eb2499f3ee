/*
 * embed_libevent: a libevent program gains a child. The handle becomes one more event of the program's own loop; there
 * is no second loop and no thread.
 *
 * A timer asks the child something every 20 ms; after five answers the program disconnects and leaves when it has seen
 * the child's end, which is the last thing that happens to a child: CLOSE.
 */
#include <brood/event.h>
#include <stdio.h>

#define QUESTIONS 5

struct program {
	struct event_base *base;
	struct event *timer;
	brood_peer *child;
	unsigned asked, replies, answers; /* a reply is an answer or an error */
};

static int replied(const brood_event *ev)
{
	struct program *p = ev->data;
	printf("%s\n", ev->msg ? ev->msg->text : ev->error->text);
	p->answers += ev->msg != NULL;
	if (++p->replies < QUESTIONS)
		return 0;
	event_del(p->timer);
	return brood_disconnect(p->child);
}

static void tick(evutil_socket_t fd, short what, void *data)
{
	struct program *p = data;
	(void)fd;
	(void)what;
	if (p->asked == QUESTIONS)
		return; /* the last answers are under way */
	if (brood_request(p->child, BROOD_TEXT("tick"), 1000, replied, p) < 0)
		fputs("the child is busy\n", stderr);
	else
		p->asked++;
}

static int gone(const brood_event *ev)
{
	printf("the child %s\n", ev->exit->text);
	return 0;
}

static int closed(const brood_event *ev)
{
	struct program *p = ev->data;
	return event_base_loopbreak(p->base);
}

static int run(struct program *p, brood *b)
{
	static const struct timeval period = { .tv_usec = 20000 };
	struct event *events = brood_event_attach(b, p->base);
	p->timer = event_new(p->base, -1, EV_PERSIST, tick, p);
	int rc = !events || !p->timer || event_add(p->timer, &period) < 0 ||
		 brood_spawn(b, &p->child, BROOD_ARGV("./hello-child"),
			     BROOD_SPAWN(.on = BROOD_ON(.exit = gone, .close = closed), .data = p)) < 0;
	if (rc == 0)
		event_base_dispatch(p->base);
	if (p->timer)
		event_free(p->timer);
	if (events)
		event_free(events);
	return rc;
}

int main(void)
{
	brood *b;
	struct program p = { .base = event_base_new() };
	if (!p.base || brood_connect(&b, NULL, NULL) < 0)
		return 1;
	int rc = run(&p, b);
	brood_close(b);
	event_base_free(p.base);
	return rc != 0 || p.answers < QUESTIONS;
}
