/*
 * proxy: see proxy.h. Edge-triggered: an end is tried until it says EAGAIN, and remembered as ready meanwhile, because a
 * flow may be paused while its ends are ready.
 *
 * The surprising rule: the two ends of a cut connection need not close at once. If the client's goes first it is back
 * while the broker still has the old connection; if the broker's goes first the client talks into the void for a while.
 */
#include "proxy.h"
#include "stage.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define EVENTS 64
#define LATE_MS 300 /* the other end of a cut connection closes at most so much later */
#define PAUSE_MS 20 /* longest pause of a flow */
#define PAUSE_ONE_IN 200
#define SPLIT_ONE_IN 8
#define EARLY_ONE_IN 8 /* connections that are cut within the first KiB */

/* ---- making connections ------------------------------------------------------------------------------------------ */

static int watch(struct proxy *p, struct end *e)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = e };
	if (!e->wire)
		event.events = EPOLLIN;
	return epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, e->fd, &event);
}

static struct sockaddr_un unix_address(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	memcpy(a.sun_path, path, strnlen(path, sizeof(a.sun_path) - 1));
	return a;
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int dial_unix(const char *path)
{
	struct sockaddr_un a = unix_address(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	close(fd);
	return -1;
}

static int dial_tcp(uint16_t port)
{
	struct sockaddr_in a = loopback(port);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return fd;
	close(fd);
	return -1;
}

static int listen_unix(struct proxy *p, const char *path)
{
	struct sockaddr_un a = unix_address(path);
	p->unix_listener.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bind(p->unix_listener.fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(p->unix_listener.fd, 1024) < 0)
		return -1;
	return watch(p, &p->unix_listener);
}

static int listen_tcp(struct proxy *p, struct end *listener, uint16_t *port)
{
	struct sockaddr_in a = loopback(0);
	socklen_t n = sizeof(a);
	int fd = listener->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bind(fd, (struct sockaddr *)&a, n) < 0 || getsockname(fd, (struct sockaddr *)&a, &n) < 0 ||
	    listen(fd, 1024) < 0)
		return -1;
	*port = ntohs(a.sin_port);
	return watch(p, listener);
}

int proxy_init(struct proxy *p, const char *path, uint16_t *tcp, uint16_t *tls, uint64_t seed)
{
	memset(p, 0, sizeof(*p));
	p->dice = seed;
	LIST_INIT(&p->all);
	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (p->epoll_fd < 0 || listen_unix(p, path) < 0 || listen_tcp(p, &p->tcp_listener, tcp) < 0)
		return -1;
	return listen_tcp(p, &p->tls_listener, tls);
}

static uint64_t budget(struct proxy *p)
{
	if (p->gentle)
		return UINT64_MAX;
	if (dice_below(&p->dice, EARLY_ONE_IN) == 0)
		return dice_below(&p->dice, 1024);
	return dice_magnitude(&p->dice, 26);
}

static void wire_start(struct proxy *p, struct wire *w)
{
	w->client.wire = w->broker.wire = w;
	w->up.from = w->down.to = &w->client;
	w->up.to = w->down.from = &w->broker;
	w->budget = budget(p);
	LIST_INSERT_HEAD(&p->all, w, entry);
	p->wires++;
	(void)watch(p, &w->client);
	(void)watch(p, &w->broker);
}

/* port: of the broker; 0: its Unix socket */
static void take_client(struct proxy *p, int fd, uint16_t port)
{
	struct wire *w = calloc(1, sizeof(*w));
	int broker = port ? dial_tcp(port) : dial_unix(p->broker_unix), one = 1;
	if (!w || broker < 0) {
		free(w);
		close(fd);
		if (broker >= 0)
			close(broker);
		return;
	}
	if (port)
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	fcntl(broker, F_SETFL, O_NONBLOCK);
	w->tcp = port != 0;
	w->client.fd = fd;
	w->broker.fd = broker;
	wire_start(p, w);
}

static void take_clients(struct proxy *p, const struct end *listener)
{
	uint16_t port = listener == &p->tcp_listener ? p->broker_tcp : listener == &p->tls_listener ? p->broker_tls : 0;
	int fd;
	while ((fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
		take_client(p, fd, port);
}

/* ---- cutting them ------------------------------------------------------------------------------------------------ */

/*
 * A broker that was just forked, and has not called exec() yet, has it open, too: then closing would leave it in the epoll,
 * and events would come for memory that was freed.
 */
static void end_close(struct proxy *p, struct end *e)
{
	if (e->fd >= 0) {
		(void)epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, e->fd, NULL);
		close(e->fd);
	}
	e->fd = -1;
	e->readable = e->writable = 0;
}

/* With a reset instead of an end of file, which also drops what the other side had not read. */
static void end_reset(struct proxy *p, struct end *e)
{
	struct linger now = { 1, 0 };
	if (e->fd >= 0)
		(void)setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	end_close(p, e);
}

static void wire_cut(struct proxy *p, struct wire *w)
{
	uint64_t later = stage_now_ms() + 1 + dice_below(&p->dice, LATE_MS);
	if (w->cut)
		return;
	w->cut = 1;
	w->reset = w->tcp && dice_below(&p->dice, 2);
	p->cuts++;
	w->client.close_at_ms = w->broker.close_at_ms = 1;
	switch (dice_below(&p->dice, 4)) {
	case 0:
		w->client.close_at_ms = later;
		break;
	case 1:
		w->broker.close_at_ms = later;
		break;
	default:
		break;
	}
}

/* One side ended, and all that came from it has been forwarded. */
static void wire_hung_up(struct wire *w)
{
	w->cut = 1;
	w->client.close_at_ms = w->broker.close_at_ms = 1;
}

void proxy_cut_any(struct proxy *p)
{
	struct wire *w;
	uint64_t n = dice_below(&p->dice, p->wires);
	LIST_FOREACH (w, &p->all, entry)
		if (n-- == 0) {
			wire_cut(p, w);
			return;
		}
}

/* ---- forwarding -------------------------------------------------------------------------------------------------- */

static void end_due(struct proxy *p, const struct wire *w, struct end *e, uint64_t now)
{
	if (e->fd < 0 || !e->close_at_ms || e->close_at_ms > now)
		return;
	if (w->reset)
		end_reset(p, e);
	else
		end_close(p, e);
}

/* 1 if something came. */
static int flow_read(struct wire *w, struct flow *f)
{
	if (f->n || !f->from->readable)
		return 0;
	ssize_t n = read(f->from->fd, f->bytes, PROXY_BUFFER);
	if (n > 0) {
		f->at = 0;
		f->n = (uint32_t)n;
		return 1;
	}
	if (n < 0 && errno == EAGAIN)
		f->from->readable = 0;
	else
		wire_hung_up(w);
	return 0;
}

static uint32_t piece(struct proxy *p, const struct wire *w, const struct flow *f)
{
	uint64_t n = f->n;
	if (p->quiet)
		return f->n;
	if (dice_below(&p->dice, SPLIT_ONE_IN) == 0)
		n = dice_below(&p->dice, 2) ? dice_below(&p->dice, 100) + 1 : dice_below(&p->dice, f->n) + 1;
	if (n > w->budget)
		n = w->budget;
	return n < f->n ? (uint32_t)n : f->n;
}

static void charge(struct proxy *p, struct wire *w, uint64_t n)
{
	p->bytes += n;
	if (p->quiet)
		return;
	w->budget -= n < w->budget ? n : w->budget;
	if (w->budget == 0)
		wire_cut(p, w);
}

static int flow_write(struct proxy *p, struct wire *w, struct flow *f)
{
	if (!f->n || !f->to->writable)
		return 0;
	ssize_t n = send(f->to->fd, f->bytes + f->at, piece(p, w, f), MSG_NOSIGNAL);
	if (n < 0 && errno == EAGAIN) {
		f->to->writable = 0;
		return 0;
	}
	if (n < 0) {
		wire_hung_up(w);
		return 0;
	}
	f->at += (uint32_t)n;
	f->n -= (uint32_t)n;
	charge(p, w, (uint64_t)n);
	return 1;
}

static int flow_turn(struct proxy *p, struct wire *w, struct flow *f, uint64_t now)
{
	if (w->cut || (f->pause_until_ms > now && !p->quiet))
		return 0;
	int moved = flow_read(w, f);
	if (w->cut)
		return 1;
	moved |= flow_write(p, w, f);
	if (moved && dice_below(&p->dice, PAUSE_ONE_IN) == 0)
		f->pause_until_ms = now + dice_below(&p->dice, PAUSE_MS);
	return moved;
}

static void wire_free(struct proxy *p, struct wire *w)
{
	LIST_REMOVE(w, entry);
	p->wires--;
	end_close(p, &w->client);
	end_close(p, &w->broker);
	free(w);
}

static int wire_turn(struct proxy *p, struct wire *w, uint64_t now)
{
	int moved = flow_turn(p, w, &w->up, now);
	moved |= flow_turn(p, w, &w->down, now);
	end_due(p, w, &w->client, now);
	end_due(p, w, &w->broker, now);
	if (w->client.fd < 0 && w->broker.fd < 0)
		wire_free(p, w);
	return moved;
}

static int forward(struct proxy *p)
{
	struct wire *w, *next;
	uint64_t now = stage_now_ms();
	int moved = 0;
	for (w = LIST_FIRST(&p->all); w; w = next) {
		next = LIST_NEXT(w, entry);
		moved |= wire_turn(p, w, now);
	}
	return moved;
}

static void wait_for_events(struct proxy *p, int timeout_ms)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(p->epoll_fd, events, EVENTS, timeout_ms);
	for (int i = 0; i < n; i++) {
		struct end *e = events[i].data.ptr;
		if (!e->wire) {
			take_clients(p, e);
			continue;
		}
		e->readable |= (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) != 0;
		e->writable |= (events[i].events & (EPOLLOUT | EPOLLERR)) != 0;
	}
}

/* Nothing is freed between epoll_wait() and the use of what it said. */
void proxy_turn(struct proxy *p, int timeout_ms)
{
	wait_for_events(p, timeout_ms);
	for (int i = 0; i < 16 && forward(p); i++)
		wait_for_events(p, 0);
}

void proxy_deinit(struct proxy *p)
{
	while (!LIST_EMPTY(&p->all))
		wire_free(p, LIST_FIRST(&p->all));
	end_close(p, &p->unix_listener);
	end_close(p, &p->tcp_listener);
	end_close(p, &p->tls_listener);
	close(p->epoll_fd);
}
