/*
 * dialer: see dialer.h. States, in order: DIALING <-> RESOLVING <-> CONNECTING, GREETING, which is the first with an
 * inherited channel: what is said then is the link's, but that there is an answer in time is looked after here. One timer
 * serves all: the next try, or how long I am patient.
 *
 * Over FIFOs `link.source` is the descriptor that I read and `link.outlet` the other one. CONNECTING is not needed there:
 * what is written before the broker has come is read by it then (knock.h).
 *
 * For tls:// a file is loaded, once, and with it comes what it trusts, from the environment.
 */
#include "dialer.h"
#include "autostart.h"
#include "dial.h"
#include "place.h"
#include "pump.h"
#include "trust.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 5000 /* for a broker that does not answer, and for a private one to come up */
#define STARTER_MS 1000  /* ... and for its first process, when the handle ends */
#define LOOK_MS 500u     /* so often it is looked how much of that has passed */
#define BACK_OFF_MS 5u   /* before the first try to get back, doubled from one to the next ... */
#define BACK_OFF_MOST_MS 1000u
#define RECONNECT_MS 120000u /* as long as a broker waits for a lost process */
#define SLAB_SIZE (2 * SLAB_HELPING)

int dialer_is_patient(struct brood *h)
{
	return handle_awake(h) < h->dialer.give_up;
}

/* Its timer rings at `until` (as of handle_awake()), or earlier. */
static void look_again(struct brood *h, uint64_t until)
{
	uint64_t now = handle_awake(h), left = until > now ? until - now : 0;
	timer_arm(&h->timers, &h->dialer.timer, handle_now() + (left < LOOK_MS ? left : LOOK_MS));
}

/* Somebody is there, and has so long to answer. */
static void await_answer(struct brood *h)
{
	h->dialer.answer_by = handle_awake(h) + PATIENCE_MS;
	look_again(h, h->dialer.answer_by);
}

/* ---- failing, and trying again ----------------------------------------------------------------------------------- */

void dialer_fault(const struct brood *h, struct fault *f, const char *name, const char *what, int code)
{
	if (code)
		fault_set_code(f, code, name, "%s at %s: %s", what, h->dialer.address, strerror(-code));
	else
		fault_set(f, name, "%s at %s", what, h->dialer.address);
}

static void fail(struct brood *h, const char *name, const char *what, int code)
{
	struct fault f;
	dialer_fault(h, &f, name, what, code);
	h->dialer.up->failed(h, &f);
}

static void try_later(struct brood *h, unsigned ms)
{
	h->link.state = LINK_DIALING;
	timer_arm(&h->timers, &h->dialer.timer, handle_now() + ms);
}

/* Programs that lost the same broker do not come back in step. */
static unsigned jitter(const struct brood *h, unsigned ms)
{
	uint64_t x = ((uint64_t)(uintptr_t)h ^ handle_now()) * 0x9e3779b97f4a7c15u;
	return ms / 2 + (unsigned)((x >> 33) % (ms / 2 + 1));
}

static void try_to_get_back(struct brood *h)
{
	struct dialer *d = &h->dialer;
	d->started = 0; /* who could not start may be able to then */
	try_later(h, jitter(h, d->back_off));
	d->back_off = d->back_off * 2 < BACK_OFF_MOST_MS ? d->back_off * 2 : BACK_OFF_MOST_MS;
}

/* ---- a private broker -------------------------------------------------------------------------------------------- */

static void reap_starter(struct brood *h, int flags)
{
	struct dialer *d = &h->dialer;
	siginfo_t info;
	if (d->starter.fd < 0)
		return;
	info = (siginfo_t){ .si_code = 0 };
	int rc = waitid(P_PIDFD, (id_t)d->starter.fd, &info, WEXITED | flags);
	if (rc == 0 && info.si_pid == 0)
		return;
	d->start_failed = rc == 0 && (info.si_code != CLD_EXITED || info.si_status != 0);
	/* It is well and listens, or it found another. If that one was just leaving, a second start is needed. */
	d->started = info.si_code != CLD_EXITED || info.si_status != 0;
	handle_watch(h, &d->starter, 0);
	close(d->starter.fd);
	d->starter.fd = -1;
}

static void starter_ready(struct source *s, unsigned events)
{
	struct brood *h = (struct brood *)(void *)((char *)s - offsetof(struct brood, dialer.starter));
	(void)events;
	reap_starter(h, WNOHANG);
}

/* It lives for milliseconds, until the broker listens. If it hangs, it ends with the handle; a broker that it left goes on. */
static void end_starter(struct brood *h)
{
	struct pollfd starter = { .fd = h->dialer.starter.fd, .events = POLLIN };
	uint64_t now, end = handle_now() + STARTER_MS;
	if (starter.fd < 0)
		return;
	while ((now = handle_now()) < end && poll(&starter, 1, (int)(end - now)) < 0 && errno == EINTR)
		;
	syscall(SYS_pidfd_send_signal, starter.fd, SIGKILL, NULL, 0);
	reap_starter(h, 0);
}

static int start_private_broker(struct brood *h)
{
	struct dialer *d = &h->dialer;
	struct spawned broker;
	struct spawn_failure why;
	int rc = autostart(&broker, &why);
	d->started = rc == 0;
	d->start_failed = rc < 0;
	if (rc < 0)
		return rc;
	d->starter.fd = broker.pidfd;
	handle_watch(h, &d->starter, EPOLLIN);
	return 0;
}

/* ---- how an attempt ended ---------------------------------------------------------------------------------------- */

static int is_untrusted(const struct dialer *d, int code)
{
	return d->address_kind == ADDRESS_FIFO && code == -EPERM;
}

static const char *why_not_reached(const struct dialer *d, int code)
{
	if (is_untrusted(d, code))
		return "its directory must be yours alone (chmod 700, no symbolic link) and is not, so the broker is "
		       "not trusted";
	if (code == -EHOSTUNREACH && d->host[0])
		return "the broker's host is not known, or cannot be reached,";
	if (d->start_failed)
		return "the private broker cannot start (broodd --private says why), so there is none";
	return "cannot reach the broker";
}

static const char *name_of_failure(const struct dialer *d, int code)
{
	if (is_untrusted(d, code))
		return "broker.untrusted";
	if (code == -EMFILE || code == -ENFILE)
		return "fd.limit";
	return d->resuming ? "broker.lost" : "broker.absent";
}

static void cannot_start_broker(struct brood *h, int code)
{
	char path[PATH_MAX], tail[FAULT_PATH], what[FAULT_PATH + 48];
	if (autostart_find(path, sizeof path) < 0)
		path[0] = '\0';
	snprintf(what, sizeof what, "cannot start a private broker (%s)", fault_path(path, tail));
	fail(h, name_of_failure(&h->dialer, code), what, code);
}

/* Nobody is there, and nobody will be: mine could not start, and another that is about to listen would have the lock. */
static int is_hopeless(const struct dialer *d)
{
	return d->started && d->start_failed && !place_is_taken(d->address, d->address_kind);
}

static void dial_failed(struct brood *h, int code)
{
	struct dialer *d = &h->dialer;
	int absent = code == -ENOENT || code == -ECONNREFUSED || code == -ECONNRESET;
	d->deserted = code == -ENOENT || code == -ECONNREFUSED;
	if (code == -EAGAIN && dialer_is_patient(h)) {
		try_later(h, 5);
	} else if (absent && d->autostart && dialer_is_patient(h) && !is_hopeless(d)) {
		int rc = d->started || d->starter.fd >= 0 ? 0 : start_private_broker(h);
		if (rc == 0)
			try_later(h, 3);
		else if (d->resuming)
			try_to_get_back(h);
		else
			cannot_start_broker(h, rc);
	} else if ((d->resuming || d->greeted) && dialer_is_patient(h)) {
		try_to_get_back(h);
	} else {
		fail(h, name_of_failure(d, code), why_not_reached(d, code), code);
	}
}

static void connected(struct brood *h, int in_fd, int out_fd)
{
	struct dialer *d = &h->dialer;
	struct link *l = &h->link;
	if (!l->slab_made && slab_init(&l->slab, SLAB_SIZE) < 0) {
		if (out_fd != in_fd)
			close(out_fd);
		fail(h, "broker.lost", "out of memory for the connection to the broker", -ENOMEM);
		return;
	}
	l->slab_made = 1;
	d->greeted = 1;
	d->deserted = 0;
	d->start_failed = 0;
	l->source.fd = in_fd;
	l->state = LINK_GREETING;
	l->full = 0;
	l->readable = 0; /* a pipe that its writer has not opened yet would show an end */
	l->enlarged = 0;
	channel_init(&l->channel, in_fd, out_fd, &l->slab);
	if (d->address_kind != ADDRESS_UNIX)
		l->channel.takes_fds = 0;
	if (d->address_kind == ADDRESS_TLS && !d->inherited && d->tls_api->connect(d->tls, &l->channel, d->host) < 0) {
		fail(h, "memory", "out of memory for TLS", -ENOMEM);
		return;
	}
	await_answer(h);
	d->up->connected(h);
}

/* Where another one sits for a moment, mine may come back. */
static void connected_if_trusted(struct brood *h)
{
	struct dialer *d = &h->dialer;
	char why[160];
	struct fault f;
	int code = 0;
	if (d->address_kind == ADDRESS_UNIX)
		code = trust_socket(d->address + strlen("unix:"), h->link.source.fd, why, sizeof(why));
	if (code == 0) {
		connected(h, h->link.source.fd, h->link.source.fd);
	} else if (d->resuming && dialer_is_patient(h)) {
		dialer_hang_up(h);
		try_to_get_back(h);
	} else {
		fault_set_code(&f, code, "broker.untrusted", "the broker at %s is not trusted: %s", d->address, why);
		d->up->failed(h, &f);
	}
}

/* ---- attempts ---------------------------------------------------------------------------------------------------- */

static void stop_knocking(struct brood *h, int answered)
{
	struct dialer *d = &h->dialer;
	if (d->knocker.fd >= 0)
		handle_watch(h, &d->knocker, 0);
	d->knocker.fd = -1;
	knock_end(&d->knock, answered);
}

/* The broker ended, or listens no more. If it has come already, it says so itself. */
static void knocker_ready(struct source *s, unsigned events)
{
	struct brood *h = (struct brood *)(void *)((char *)s - offsetof(struct brood, dialer.knocker));
	(void)events;
	handle_watch(h, s, 0);
	s->fd = -1;
	if (knock_is_vain(&h->dialer.knock, h->link.channel.in_fd, h->link.channel.out_fd))
		h->dialer.up->ended(h, -ECONNRESET);
}

static void knock_now(struct brood *h, const struct address *a)
{
	struct dialer *d = &h->dialer;
	int in_fd, out_fd, rc = knock(&d->knock, a, &in_fd, &out_fd);
	if (rc < 0) {
		dial_failed(h, rc);
		return;
	}
	d->knocker.fd = d->knock.rendezvous;
	handle_watch(h, &d->knocker, EPOLLERR);
	h->link.source.fd = in_fd;
	handle_watch(h, &h->link.source, EPOLLIN);
	connected(h, in_fd, out_fd);
}

/* A setting that a program with more rights than its user does not take from him. "" is none. */
static const char *setting(const char *name)
{
	const char *value = secure_getenv(name);
	return value && *value ? value : NULL;
}

/* What I trust and who I am, for tls://. 0, or the link has failed. */
static int open_tls(struct brood *h)
{
	struct dialer *d = &h->dialer;
	struct tls_files files = { setting("BROOD_TLS_CA"), setting("BROOD_TLS_CERT"), setting("BROOD_TLS_KEY"),
				   setting("BROOD_TLS_CRL") };
	struct tls_fault why;
	struct fault f;
	/* A child of another user than its parent: its ticket says who it is, where the broker wants no certificate. */
	if (h->link.ticket_size && files.key && access(files.key, R_OK) < 0 && errno == EACCES)
		files.certificate = files.key = NULL;
	if (!d->tls_api)
		d->tls_api = tls_load(&why);
	if (d->tls_api && !d->tls)
		d->tls = d->tls_api->client(&files, &why);
	if (d->tls)
		return 0;
	fault_set(&f, why.name, "%s: %s", d->address, why.text);
	d->up->failed(h, &f);
	return -1;
}

static void connect_to(struct brood *h, const struct address *a)
{
	int pending = 0, fd = dial(a, &pending);
	if (fd < 0) {
		dial_failed(h, fd);
		return;
	}
	dial_tune(fd, a->kind);
	h->link.source.fd = fd;
	handle_watch(h, &h->link.source, pending ? EPOLLOUT : EPOLLIN);
	if (pending) {
		h->link.state = LINK_CONNECTING;
		await_answer(h);
	} else {
		connected_if_trusted(h);
	}
}

void dialer_socket_ready(struct brood *h)
{
	struct dialer *d = &h->dialer;
	int rc = dial_result(h->link.source.fd);
	if (rc < 0) {
		/* Somebody accepted, and it was cut before I saw that; or it was cut here, from outside. */
		d->greeted |= rc == -ECONNRESET || rc == -ECONNABORTED;
		dialer_hang_up(h);
		dial_failed(h, rc);
		return;
	}
	handle_watch(h, &h->link.source, EPOLLIN);
	connected_if_trusted(h);
}

static void stop_resolving(struct brood *h)
{
	struct dialer *d = &h->dialer;
	if (!d->resolving)
		return;
	handle_watch(h, &d->resolver, 0);
	d->tls_api->resolve_free(d->resolving);
	d->resolving = NULL;
	d->resolver.fd = -1;
}

/* It goes on until the patience of the whole attempt ends: another question would have no other answer. */
static void resolve_now(struct brood *h, const struct address *a)
{
	struct dialer *d = &h->dialer;
	int rc = d->tls_api->resolve_begin(&d->resolving, a);
	if (rc < 0) {
		dial_failed(h, rc);
		return;
	}
	h->link.state = LINK_RESOLVING;
	d->resolver.fd = d->tls_api->resolve_fd(d->resolving);
	handle_watch(h, &d->resolver, EPOLLIN);
	look_again(h, d->give_up);
}

static void resolver_ready(struct source *s, unsigned events)
{
	struct brood *h = (struct brood *)(void *)((char *)s - offsetof(struct brood, dialer.resolver));
	struct dialer *d = &h->dialer;
	struct address a;
	int rc = d->resolving ? d->tls_api->resolve_answer(d->resolving, &a) : -EINPROGRESS;
	(void)events;
	if (rc == -EINPROGRESS) /* the event was of an earlier question */
		return;
	stop_resolving(h);
	h->link.state = LINK_DIALING;
	if (rc < 0)
		dial_failed(h, rc);
	else
		connect_to(h, &a);
}

static void dial_now(struct brood *h)
{
	struct dialer *d = &h->dialer;
	struct address a;
	char why[160];
	if (address_parse(d->address, &a, why, sizeof(why)) < 0) {
		struct fault f;
		fault_set(&f, "address.invalid", "%s",
			  *d->address ? why
				      : "XDG_RUNTIME_DIR is too long for the path of a socket; give a shorter one");
		d->up->failed(h, &f);
		return;
	}
	d->address_kind = a.kind;
	if (a.kind == ADDRESS_FIFO) {
		knock_now(h, &a);
		return;
	}
	d->loopback = a.loopback;
	memcpy(d->host, a.host, sizeof(d->host));
	if (a.kind == ADDRESS_TLS && open_tls(h) < 0)
		return;
	if (a.length == 0)
		resolve_now(h, &a);
	else
		connect_to(h, &a);
}

/* ---- patience ---------------------------------------------------------------------------------------------------- */

static void lost_patience(struct brood *h)
{
	struct dialer *d = &h->dialer;
	struct fault f;
	if (d->resuming && dialer_is_patient(h)) {
		dialer_hang_up(h);
		try_to_get_back(h);
		return;
	}
	long pid = d->inherited ? 0 : place_holder(d->address, d->address_kind);
	if (pid)
		fault_set_code(&f, -ETIMEDOUT, "broker.absent",
			       "the broker at %s (pid %ld) accepts but does not answer", d->address, pid);
	else
		fault_set_code(&f, -ETIMEDOUT, "broker.absent", "the broker at %s does not answer",
			       d->inherited ? "the inherited channel" : d->address);
	d->up->failed(h, &f);
}

static void look_for_answer(struct brood *h)
{
	if (handle_awake(h) < h->dialer.answer_by)
		look_again(h, h->dialer.answer_by);
	else
		lost_patience(h);
}

static void timer_rings(struct timer *t)
{
	struct brood *h = (struct brood *)(void *)((char *)t - offsetof(struct brood, dialer.timer));
	if (h->link.state == LINK_DIALING)
		dial_now(h);
	else if (h->link.state == LINK_RESOLVING && dialer_is_patient(h))
		look_again(h, h->dialer.give_up);
	else if (h->link.state == LINK_RESOLVING)
		fail(h, "broker.absent", "the resolver does not answer for the host of the broker", -ETIMEDOUT);
	else if (h->link.state == LINK_CONNECTING || h->link.state == LINK_GREETING)
		look_for_answer(h);
}

/* ---- for the link ------------------------------------------------------------------------------------------------ */

void dialer_init(struct brood *h, const char *address, const struct brood_options *o, const struct dialer_up *up)
{
	struct dialer *d = &h->dialer;
	d->up = up;
	d->knocker = (struct source){ .ready = knocker_ready, .fd = -1 };
	d->knock = (struct knock){ .directory = -1, .rendezvous = -1, .hold = -1 };
	d->starter = (struct source){ .ready = starter_ready, .fd = -1 };
	d->resolver = (struct source){ .ready = resolver_ready, .fd = -1 };
	d->timer.fire = timer_rings;
	d->address_kind = ADDRESS_UNIX;
	d->reconnect_ms = o->reconnect_ms ? o->reconnect_ms : RECONNECT_MS;
	d->given = address != NULL;
	h->link.source.fd = address ? -1 : place_inherited();
	d->inherited = h->link.source.fd >= 0;
	if (d->inherited)
		return;
	d->autostart = place_find(address, d->address, sizeof(d->address)) && !(h->flags & BROOD_NO_AUTOSTART);
}

void dialer_deinit(struct brood *h)
{
	struct dialer *d = &h->dialer;
	end_starter(h);
	dialer_hang_up(h);
	if (h->link.slab_made)
		slab_deinit(&h->link.slab);
	if (d->tls)
		d->tls_api->context_free(d->tls);
}

void dialer_hang_up(struct brood *h)
{
	struct link *l = &h->link;
	timer_cancel(&h->timers, &h->dialer.timer);
	stop_knocking(h, 0);
	stop_resolving(h);
	pump_unwatch(h);
	if (l->source.fd >= 0)
		handle_watch(h, &l->source, 0);
	if (l->channel.slab)
		channel_deinit(&l->channel);
	else if (l->source.fd >= 0)
		close(l->source.fd);
	l->source.fd = -1;
	l->full = l->spoiled = 0;
}

/* Trying goes on for so many ms. */
static void begin_patience(struct brood *h, unsigned ms)
{
	h->dialer.give_up = handle_awake(h) + ms;
	h->dialer.back_off = BACK_OFF_MS;
}

void dialer_begin(struct brood *h)
{
	struct link *l = &h->link;
	begin_patience(h, h->dialer.greeted ? h->dialer.reconnect_ms : PATIENCE_MS);
	if (!h->dialer.inherited) {
		l->state = LINK_DIALING;
		dial_now(h);
	} else {
		handle_watch(h, &l->source, EPOLLIN);
		connected(h, l->source.fd, l->source.fd);
	}
}

void dialer_resume(struct brood *h)
{
	struct dialer *d = &h->dialer;
	int spoiled = h->link.spoiled;
	unsigned back_off = d->back_off;
	dialer_hang_up(h);
	if (!d->resuming)
		begin_patience(h, d->reconnect_ms);
	if (spoiled)
		d->back_off = back_off; /* what I have no memory for comes again with each connection, at once */
	d->resuming = 1;
	d->inherited = 0;
	d->started = 0;
	d->deserted = 0;
}

void dialer_again(struct brood *h, int at_once)
{
	if (at_once)
		try_later(h, 0);
	else
		try_to_get_back(h);
}

void dialer_redial(struct brood *h)
{
	dialer_hang_up(h);
	h->dialer.started = 0;
	try_later(h, jitter(h, 2 * BACK_OFF_MS));
}

void dialer_heard(struct brood *h)
{
	if (h->dialer.knock.rendezvous >= 0)
		stop_knocking(h, 1);
}

void dialer_rest(struct brood *h)
{
	timer_cancel(&h->timers, &h->dialer.timer);
	h->dialer.resuming = 0;
}
