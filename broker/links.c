/*
 * links: dials, and keeps time.
 *
 * A node that has an address in the configuration is dialed until there is a connection, whoever made it. If both ends dial
 * at once link.c decides which stays. A failure doubles the wait, with jitter, so that two nodes do not meet in step. All
 * waits are one timerfd, for the reason that broker.c gives.
 */
#include "links.h"
#include "clock.h"
#include "dial.h"
#include "note.h"
#include "proxy.h"
#include "text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define CONNECT_S 5
#define SWEEP_MS 10000u

/*
 * Time.
 */

static int wants_dial(const struct node *node)
{
	return node->listed && node->url.kind && !node->link && !node->dialed && node->connecting_fd < 0 &&
	       !node->resolve;
}

/* When there is something to do next. */
static uint64_t next_due(const struct links *links)
{
	const struct node *node;
	uint64_t due = UINT64_MAX;

	LIST_FOREACH (node, &links->nodes, entry) {
		if (node->link && links->beat_due_ms < due)
			due = links->beat_due_ms;
		if (wants_dial(node) && node->dial_ms < due)
			due = node->dial_ms;
	}
	return due;
}

static void arm(struct links *links)
{
	uint64_t now = clock_ms(), due = links->closing ? UINT64_MAX : next_due(links), ms = due > now ? due - now : 1;
	const struct itimerspec at = { { 0, 0 }, { (time_t)(ms / 1000), (long)(ms % 1000 * 1000000) } }, never = { 0 };

	if (links->timer_fd < 0 || due == links->armed_ms)
		return;
	links->armed_ms = due;
	(void)timerfd_settime(links->timer_fd, 0, due == UINT64_MAX ? &never : &at, NULL);
}

/* From half of it to all of it. */
static unsigned jitter(struct links *links, unsigned ms)
{
	links->chance = links->chance * 1103515245u + 12345u;
	return ms / 2 + (links->chance >> 16) % (ms / 2 + 1);
}

static void try_later(struct node *node)
{
	node->back_off_ms = link_back_off(node->back_off_ms);
	node->dial_ms = clock_ms() + jitter(node->links, node->back_off_ms);
}

/*
 * Dialing.
 */

static void failed(struct node *node, const char *why)
{
	char before[NODE_ERROR], address[256], text[2 * NODE_ERROR + 256];

	memcpy(before, node->error, sizeof(before));
	snprintf(text, sizeof(text), "%s: %s", address_text(&node->url, address, sizeof(address)), why);
	text_cut(node->error, NODE_ERROR, text);
	try_later(node);
	if (strcmp(before, node->error) == 0)
		return;
	log_say(node->links->log, LOG_LINK_FAILED, FIELD_TEXT("node", node->name), FIELD_TEXT("text", node->error));
	if (!node->link)
		inquiries_unreachable(node);
}

/* Over a Unix socket the kernel says whose broker that is. */
static int is_trusted(const struct node *node, int fd)
{
	struct ucred peer = { .uid = UINT32_MAX };
	socklen_t n = sizeof(peer);

	if (node->url.kind != ADDRESS_UNIX)
		return 1;
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 &&
	       (peer.uid == 0 || peer.uid == node->links->owner);
}

static void connected(struct node *node, int fd)
{
	struct links *links = node->links;
	enum process_transport transport = node->url.kind == ADDRESS_TLS ? TRANSPORT_TLS : TRANSPORT_UNIX;
	struct session *s;

	if (!is_trusted(node, fd)) {
		close(fd);
		failed(node, "it belongs to another user");
		return;
	}
	if (transport == TRANSPORT_TLS && !links->tls) {
		close(fd);
		failed(node, "there is no certificate to show; set broker.tls-cert, tls-key and tls-ca");
		return;
	}
	dial_tune(fd, node->url.kind);
	s = session_new(links->sessions, fd, fd, transport, links->owner);
	if (s && transport == TRANSPORT_TLS && tls_connect(links->tls, &s->channel, node->name) < 0) {
		session_close(s);
		s = NULL;
	}
	if (s && !link_new(links, s, node))
		session_close(s);
	if (!node->dialed)
		failed(node, strerror(ENOMEM));
}

static void on_connected(evutil_socket_t fd, short what, void *data)
{
	struct node *node = data;
	int r = what & EV_TIMEOUT ? -ETIMEDOUT : dial_result(fd);

	node->connecting_fd = -1;
	if (r == 0) {
		connected(node, fd);
	} else {
		close(fd);
		failed(node, strerror(-r));
	}
	arm(node->links);
}

static void wait_for_connection(struct node *node, int fd)
{
	const struct timeval patience = { CONNECT_S, 0 };

	event_assign(&node->connecting, node->links->base, fd, EV_WRITE, on_connected, node);
	if (event_add(&node->connecting, &patience) < 0) {
		close(fd);
		failed(node, strerror(ENOMEM));
		return;
	}
	node->connecting_fd = fd;
}

static void dial_address(struct node *node, const struct address *address)
{
	int pending, fd = dial(address, &pending);

	if (fd < 0)
		failed(node, strerror(-fd));
	else if (pending)
		wait_for_connection(node, fd);
	else
		connected(node, fd);
}

static void stop_resolving(struct node *node)
{
	if (!node->resolve)
		return;
	event_del(&node->resolving);
	resolve_free(node->resolve);
	node->resolve = NULL;
}

static void on_resolved(evutil_socket_t fd, short what, void *data)
{
	struct node *node = data;
	struct address found;
	int r = resolve_answer(node->resolve, &found);

	(void)fd;
	(void)what;
	if (r == -EINPROGRESS)
		return;
	stop_resolving(node);
	if (r < 0)
		failed(node, r == -EHOSTUNREACH ? "the host's name is not known" : strerror(-r));
	else
		dial_address(node, &found);
	arm(node->links);
}

/* A thread waits for the resolver, which may take its time. */
static void look_up(struct node *node)
{
	int r = resolve_begin(&node->resolve, &node->url);

	if (r < 0) {
		node->resolve = NULL;
		failed(node, strerror(-r));
		return;
	}
	event_assign(&node->resolving, node->links->base, resolve_fd(node->resolve), EV_READ | EV_PERSIST, on_resolved,
		     node);
	if (event_add(&node->resolving, NULL) == 0)
		return;
	stop_resolving(node);
	failed(node, strerror(ENOMEM));
}

/* A name is looked up each time, because it may lead elsewhere now. */
static void dial_node(struct node *node)
{
	if (node->url.length == 0)
		look_up(node);
	else
		dial_address(node, &node->url);
}

static void stop_dialing(struct node *node)
{
	stop_resolving(node);
	if (node->connecting_fd >= 0) {
		event_del(&node->connecting);
		close(node->connecting_fd);
		node->connecting_fd = -1;
	}
	if (node->dialed)
		session_close(node->dialed->session);
}

static void free_ended(struct links *links)
{
	struct link *link;

	while ((link = SLIST_FIRST(&links->ended))) {
		SLIST_REMOVE_HEAD(&links->ended, of_ended);
		link_free(link);
	}
}

static void beat_all(struct links *links, uint64_t now)
{
	struct node *node;

	links->beat_due_ms = now + links->beat_ms;
	LIST_FOREACH (node, &links->nodes, entry) {
		node->swept = 0;
		if (now >= links->sweep_due_ms)
			proxies_sweep(node);
		if (node->link)
			link_beat(node->link, now);
	}
	if (now >= links->sweep_due_ms)
		links->sweep_due_ms = now + SWEEP_MS;
}

static void on_timer(evutil_socket_t fd, short what, void *data)
{
	struct links *links = data;
	uint64_t rings, now = clock_ms();
	struct node *node;

	(void)what;
	(void)!read(fd, &rings, sizeof(rings));
	links->armed_ms = UINT64_MAX;
	free_ended(links);
	if (now >= links->beat_due_ms)
		beat_all(links, now);
	LIST_FOREACH (node, &links->nodes, entry)
		if (wants_dial(node) && now >= node->dial_ms)
			dial_node(node);
	arm(links);
}

/*
 * What those below ask of other nodes.
 */

static struct process *find(void *data, uint64_t id)
{
	struct links *links = data;
	const struct abroad_epoch *epoch = abroad_of(&links->abroad, (uint32_t)(id >> 32));
	struct node *node = epoch ? node_find(links, epoch->node) : NULL;

	return node && node->listed ? link_process(node, (uint64_t)epoch->epoch << 32 | (uint32_t)id) : NULL;
}

static void born(void *data, const struct process *p)
{
	struct link *link = p->parent->proxy->node->link;

	(void)data;
	if (link)
		(void)link_announce(link, p);
}

static void returned(void *data, struct process *p)
{
	struct process *child, *next;

	(void)data;
	for (child = LIST_FIRST(&p->children); child; child = next) {
		next = LIST_NEXT(child, sibling);
		if (child->proxy && !users_node_listed(estate_of(p)->abroad, child->proxy->node->name))
			registry_relate(child, NULL);
	}
}

static void gone(void *data, struct process *p, Brood__Why why)
{
	struct links *links = data;
	struct node *node;

	inquiries_end_of(&links->inquiries, p);
	if (p->proxy) {
		proxy_forget(p);
		return;
	}
	LIST_FOREACH (node, &links->nodes, entry)
		if (node->link)
			link_say_gone(node->link, p, why);
}

static int may(void *data, const struct process *from, const struct process *to)
{
	return link_may(data, from, to);
}

static const struct abroad_ops abroad_ops = { find, born, returned, gone, may };

/*
 * Beginning, ending, changing.
 */

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Of this start of the host. Without one each run of the broker is taken for one. */
static void read_boot(uint8_t boot[BOOT_SIZE])
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	char text[64];
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text));
	size_t n = 0;

	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0; i < got && n < 2 * BOOT_SIZE; i++) {
		if (hex(text[i]) < 0)
			continue;
		boot[n / 2] = (uint8_t)(boot[n / 2] << 4 | hex(text[i]));
		n++;
	}
	if (n < 2 * BOOT_SIZE)
		(void)!getrandom(boot, BOOT_SIZE, 0);
}

int links_init(struct links *links, const struct home *home, char *why, size_t n)
{
	int r = abroad_open(&links->abroad, home, why, n);

	LIST_INIT(&links->nodes);
	SLIST_INIT(&links->ended);
	links->timer_fd = -1;
	if (r < 0)
		return r;
	(void)!getrandom(&links->chance, sizeof(links->chance), 0);
	read_boot(links->boot);
	links->inquiries = (struct inquiries){ .registry = links->registry,
					       .router = links->router,
					       .users = &links->users,
					       .node = links->node,
					       .self = (uint64_t)links->epoch << 32 };
	links->registry->changed = inquiries_changed;
	links->registry->changed_data = &links->inquiries;
	links->router->abroad = &abroad_ops;
	links->router->abroad_data = links;
	return 0;
}

/* Made with the first node. If it cannot be made nobody is dialed, and nobody's silence is noticed. */
static void start_timer(struct links *links)
{
	if (links->timer_fd >= 0 || LIST_EMPTY(&links->nodes))
		return;
	links->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	links->armed_ms = UINT64_MAX;
	if (links->timer_fd < 0) {
		log_say(links->log, LOG_LINK_FAILED, FIELD_TEXT("text", strerror(errno)));
		return;
	}
	event_assign(&links->timer, links->base, links->timer_fd, EV_READ | EV_PERSIST, on_timer, links);
	if (event_add(&links->timer, NULL) < 0)
		log_say(links->log, LOG_LINK_FAILED, FIELD_TEXT("text", strerror(ENOMEM)));
}

void links_close(struct links *links)
{
	struct node *node;

	links->closing = 1;
	LIST_FOREACH (node, &links->nodes, entry)
		stop_dialing(node);
	arm(links);
}

void links_deinit(struct links *links)
{
	struct node *node;

	if (!links->base)
		return;
	free_ended(links);
	while ((node = LIST_FIRST(&links->nodes))) {
		stop_dialing(node);
		while (!LIST_EMPTY(&node->inquiries))
			inquiry_end(&links->inquiries, LIST_FIRST(&node->inquiries));
		LIST_REMOVE(node, entry);
		free(node);
	}
	if (links->timer_fd >= 0) {
		event_del(&links->timer);
		close(links->timer_fd);
	}
	links->router->abroad = NULL;
	links->registry->changed = NULL;
	abroad_deinit(&links->abroad);
	users_deinit(&links->users);
}

static struct node *node_add(struct links *links, const char *name)
{
	struct node *node = calloc(1, sizeof(*node));

	if (!node)
		return NULL;
	node->links = links;
	node->connecting_fd = -1;
	node->since_ms = clock_ms();
	strcpy(node->name, name);
	LIST_INIT(&node->proxies);
	LIST_INIT(&node->inquiries);
	LIST_INSERT_HEAD(&links->nodes, node, entry);
	return node;
}

/* It is not in the configuration any more. Its record stays for those who may still watch names there. */
static void let_go(struct node *node)
{
	struct inquiry *i;

	stop_dialing(node);
	if (node->link)
		session_refuse(node->link->session, "link.unknown", "node %s is not in the configuration any more",
			       node->name);
	proxies_end(node, BROOD__WHY__WHY_LOST);
	LIST_FOREACH (i, &node->inquiries, of_place)
		inquiry_answer(i, node->name, 0, "");
}

static void take_peer(struct links *links, const struct config_named *peer)
{
	struct node *node = node_find(links, peer->name);
	struct address url = { 0 };
	char why[256];

	if (peer->url)
		(void)address_parse(peer->url, &url, why, sizeof(why)); /* as it was when the configuration was read */
	if (!node)
		node = node_add(links, peer->name);
	if (!node)
		return; /* without memory as if it were not there, until the next reload */
	node->listed = 1;
	if (memcmp(&node->url, &url, sizeof(url)) != 0)
		stop_dialing(node);
	node->url = url;
	node->back_off_ms = 0;
	node->dial_ms = clock_ms();
}

static int is_listed(void *data, const char *name)
{
	const struct node *node = node_find(data, name);

	return node && node->listed;
}

void links_configure(struct links *links, const struct config *config)
{
	struct node *node;

	links->beat_ms = config->beat_ms;
	LIST_FOREACH (node, &links->nodes, entry)
		node->listed = 0;
	for (unsigned i = 0; i < config->n_named && !config->private; i++)
		if (strcmp(config->named[i].section, "peer") == 0)
			take_peer(links, &config->named[i]);
	LIST_FOREACH (node, &links->nodes, entry)
		if (!node->listed)
			let_go(node);
	abroad_part(&links->abroad, is_listed, links);
	start_timer(links);
	arm(links);
}

/*
 * Sessions.
 */

void links_take(struct links *links, struct session *s, const struct frame *f)
{
	int was_up = s->link && s->link->up;

	free_ended(links);
	if (s->link || link_new(links, s, NULL))
		link_take(s->link, f);
	else
		session_refuse(s, "broker.full", "the broker has no memory left");
	if (!was_up) /* most frames change nothing about when there is something to do */
		arm(links);
}

void links_parted(struct links *links, struct session *s, const char *why)
{
	struct link *link = s->link;
	struct node *node = link->node;
	int was_its = node && (node->link == link || node->dialed == link), was_up = link->up;
	char text[NODE_ERROR];

	link_end(link, why);
	if (!was_its)
		return;
	memcpy(text, node->error, sizeof(text));
	if (was_up) {
		inquiries_unreachable(node);
		try_later(node);
	} else if (node->link || link->doubled) {
		try_later(node); /* there is another connection, or will be */
	} else {
		failed(node, text);
	}
	arm(links);
}

/*
 * Names.
 */

/* The node's part of "node/name". */
static const char *split(const char *far, char node[NAME_MAX_LENGTH + 1])
{
	const char *slash = strchr(far, '/');

	snprintf(node, NAME_MAX_LENGTH + 1, "%.*s", (int)(slash - far), far);
	return slash + 1;
}

static void answer_unknown(const struct links *links, const struct process *p, const char *far)
{
	Brood__Name nobody = BROOD__NAME__INIT;

	nobody.name = (char *)(uintptr_t)far;
	nobody.error = (char *)(uintptr_t)(links->control->private ? "host.private" : "host.unknown");
	note_put(p->sink, FRAME_NAME, &nobody.base);
}

int links_watch(struct links *links, struct process *p, const char *far)
{
	char name[NAME_MAX_LENGTH + 1];
	const char *rest = split(far, name);
	struct node *node = node_find(links, name);
	int own = strcmp(name, links->node) == 0, r;
	struct inquiry *i;

	if (!own && (!node || !node->listed)) {
		answer_unknown(links, p, far);
		return 0;
	}
	r = inquiry_begin(&links->inquiries, p, own ? NULL : node, own ? NULL : &node->inquiries, rest, &i);
	if (r == 0 && !own && node->link)
		link_watch(node->link, i);
	else if (r == 0 && !own)
		inquiry_unreachable(i);
	return r;
}

void links_unwatch(struct links *links, struct process *p, const char *far)
{
	char name[NAME_MAX_LENGTH + 1];
	const char *rest = split(far, name);
	struct node *node = node_find(links, name);
	struct inquiry *i = inquiry_find(p, node, rest);

	if (!i || (!node && strcmp(name, links->node) != 0))
		return;
	if (node && node->link)
		link_unwatch(node->link, i);
	inquiry_end(&links->inquiries, i);
}

void links_settle(struct links *links)
{
	inquiries_settle(&links->inquiries);
}
