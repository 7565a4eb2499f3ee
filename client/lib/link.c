/*
 * link: see link.h. States, in order: IDLE, DIALING <-> RESOLVING <-> CONNECTING, GREETING, UP, LEAVING, DOWN.
 *
 * With an inherited channel the first state is GREETING: the first frame in it is BIRTH, which says who I am.
 *
 * A connection that ends goes back to DIALING, with a ticket that gets the same id again (`resuming`): the broker may
 * have been killed, replaced, or unreachable for a while. That lasts until it answers, or reconnect_ms are over. It also
 * covers a channel whose other end never reached the broker.
 *
 * Over FIFOs `source` is the descriptor that I read and `outlet` the other one. CONNECTING is not needed there: what is
 * written before the broker has come is read by it then (knock.h).
 *
 * For tls:// a file is loaded, once, and with it comes what it trusts, from the environment. A handshake that fails for a
 * reason of TLS ends the link at once: trying again would not help.
 */
#include "link.h"
#include "address.h"
#include "autostart.h"
#include "brood.pb-c.h"
#include "dial.h"
#include "guard.h"
#include "pump.h"
#include "remote.h"
#include "trust.h"
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 5000 /* for a broker that does not answer, and for a private one to come up */
#define LOOK_MS 500u     /* so often it is looked how much of that has passed */
#define CHILD_IDS 64     /* ids asked for at once */
#define BACK_OFF_MS 5u   /* before the first try to get back, doubled from one to the next ... */
#define BACK_OFF_MOST_MS 1000u
#define RECONNECT_MS 120000u /* as long as a broker waits for a lost process */
#define SLAB_SIZE (2 * SLAB_HELPING)

static void dial_again(struct timer *);

static int is_patient(struct brood *h)
{
	return handle_awake(h) < h->link.give_up;
}

/* Its timer rings at `until` (as of handle_awake()), or earlier. */
static void look_again(struct brood *h, uint64_t until)
{
	uint64_t now = handle_awake(h), left = until > now ? until - now : 0;
	timer_arm(&h->timers, &h->link.timer, handle_now() + (left < LOOK_MS ? left : LOOK_MS));
}

/* Somebody is there, and has so long to answer. */
static void await_answer(struct brood *h)
{
	h->link.answer_by = handle_awake(h) + PATIENCE_MS;
	look_again(h, h->link.answer_by);
}

/* ---- where the broker is ----------------------------------------------------------------------------------------- */

/* BROOD_FD=number:inode names the channel I was born with. The descriptor, renumbered so that nobody takes it twice. */
static int inherited_channel(void)
{
	const char *text = getenv("BROOD_FD");
	char *end;
	struct stat s;
	if (!text)
		return -1;
	long number = strtol(text, &end, 10);
	if (end == text || *end != ':' || number < 0 || number > 1 << 20)
		return -1;
	unsigned long long inode = strtoull(end + 1, &end, 10);
	if (*end || fstat((int)number, &s) < 0 || s.st_ino != inode || !(S_ISSOCK(s.st_mode) || S_ISFIFO(s.st_mode)))
		return -1;
	int fd = fcntl((int)number, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return -1;
	close((int)number);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return fd;
}

static void find_broker(struct link *l, const char *address, unsigned flags)
{
	char directory[96];
	struct stat s;
	if (!address)
		address = getenv("BROOD_ADDRESS");
	l->fixed = address && *address;
	if (l->fixed) {
		snprintf(l->address, sizeof(l->address), "%s", address);
	} else if (stat("/run/brood", &s) == 0) {
		snprintf(l->address, sizeof(l->address), "unix:/run/brood/sock");
	} else if (address_private_directory(directory, sizeof(directory))) {
		snprintf(l->address, sizeof(l->address), "unix:%s/sock", directory);
		l->autostart = !(flags & BROOD_NO_AUTOSTART);
	}
}

static char *copy_or_null(const char *text)
{
	return text ? strdup(text) : NULL;
}

static void channel_ready(struct source *s, unsigned events);
static void outlet_ready(struct source *s, unsigned events);
static void knocker_ready(struct source *s, unsigned events);
static void starter_ready(struct source *s, unsigned events);
static void resolver_ready(struct source *s, unsigned events);

static struct brood *handle_of(struct link *l)
{
	return (struct brood *)(void *)((char *)l - offsetof(struct brood, link));
}

void link_init(struct brood *h, const char *address, const struct brood_options *o, const struct link_up *up)
{
	struct link *l = &h->link;
	l->up = up;
	l->source = (struct source){ .ready = channel_ready, .fd = -1 };
	l->outlet = (struct source){ .ready = outlet_ready, .fd = -1 };
	l->knocker = (struct source){ .ready = knocker_ready, .fd = -1 };
	l->knock = (struct knock){ .directory = -1, .rendezvous = -1, .hold = -1 };
	l->starter = (struct source){ .ready = starter_ready, .fd = -1 };
	l->resolver = (struct source){ .ready = resolver_ready, .fd = -1 };
	l->timer.fire = dial_again;
	l->next_id = 1;
	l->address_kind = ADDRESS_UNIX;
	l->channel.in_fd = l->channel.out_fd = -1;
	l->token_file = copy_or_null(o->token_file ? o->token_file : getenv("BROOD_TOKEN_FILE"));
	l->parent_name = copy_or_null(o->parent);
	l->source.fd = address ? -1 : inherited_channel();
	l->inherited = l->source.fd >= 0;
	l->given = address != NULL;
	l->reconnect_ms = o->reconnect_ms ? o->reconnect_ms : RECONNECT_MS;
	if (!l->inherited)
		find_broker(l, address, h->flags);
}

static void stop_knocking(struct brood *h, int answered)
{
	struct link *l = &h->link;
	if (l->knocker.fd >= 0)
		handle_watch(h, &l->knocker, 0);
	l->knocker.fd = -1;
	knock_end(&l->knock, answered);
}

static void stop_resolving(struct brood *h)
{
	struct link *l = &h->link;
	if (!l->resolving)
		return;
	handle_watch(h, &l->resolver, 0);
	l->tls_api->resolve_free(l->resolving);
	l->resolving = NULL;
	l->resolver.fd = -1;
}

static void disconnect(struct brood *h)
{
	struct link *l = &h->link;
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

static void reap_starter(struct brood *h, int flags)
{
	struct link *l = &h->link;
	siginfo_t info;
	if (l->starter.fd < 0)
		return;
	info = (siginfo_t){ .si_code = 0 };
	if (waitid(P_PIDFD, (id_t)l->starter.fd, &info, WEXITED | flags) == 0 && info.si_pid == 0)
		return;
	/* It is well and listens, or it found another. If that one was just leaving, a second start is needed. */
	l->started = info.si_code != CLD_EXITED || info.si_status != 0;
	handle_watch(h, &l->starter, 0);
	close(l->starter.fd);
	l->starter.fd = -1;
}

void link_deinit(struct brood *h)
{
	struct link *l = &h->link;
	timer_cancel(&h->timers, &l->timer);
	reap_starter(h, 0); /* it lives for milliseconds: until the broker listens */
	disconnect(h);
	if (l->slab_made)
		slab_deinit(&l->slab);
	if (l->tls)
		l->tls_api->context_free(l->tls);
	free(l->token_file);
	free(l->parent_name);
	free(h->abroad);
	h->abroad = NULL;
}

void link_fail(struct brood *h, const struct fault *f)
{
	struct link *l = &h->link;
	if (l->state == LINK_DOWN)
		return;
	l->state = LINK_DOWN;
	timer_cancel(&h->timers, &l->timer);
	disconnect(h);
	l->up->down(h, f);
}

static void fail(struct brood *h, const char *name, const char *what, int code)
{
	struct fault f;
	if (code)
		fault_set_code(&f, code, name, "%s at %s: %s", what, h->link.address, strerror(-code));
	else
		fault_set(&f, name, "%s at %s", what, h->link.address);
	link_fail(h, &f);
}

/* ---- greeting ---------------------------------------------------------------------------------------------------- */

/*
 * The cookie of a TCP broker: proof that I may read its directory. Bytes, or 0. For TLS it must have been named: another
 * host's broker is not shown this host's secret.
 */
static size_t read_cookie(const struct link *l, uint8_t *to, size_t n)
{
	char path[160], directory[96];
	if (!l->token_file && l->address_kind == ADDRESS_TLS)
		return 0;
	if (!l->token_file && !address_private_directory(directory, sizeof(directory)))
		return 0;
	if (!l->token_file)
		snprintf(path, sizeof(path), "%s/cookie", directory);
	int fd = open(l->token_file ? l->token_file : path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return 0;
	ssize_t got = read(fd, to, n);
	close(fd);
	return got > 0 ? (size_t)got : 0;
}

/* A broker in the same one can see when this process ends, and others there know whom its number means. */
static uint64_t pid_space(void)
{
	struct stat s;
	return stat("/proc/self/ns/pid", &s) == 0 ? s.st_ino : 0;
}

static void say_hello(struct brood *h, unsigned ids)
{
	struct link *l = &h->link;
	uint8_t cookie[256];
	Brood__Hello hello = BROOD__HELLO__INIT;
	hello.pid = (uint32_t)getpid();
	hello.title = program_invocation_short_name;
	hello.ids = ids;
	if (l->address_kind != ADDRESS_TLS || l->loopback)
		hello.pid_space = pid_space();
	hello.level = !(h->flags & BROOD_NO_RECONNECT);
	hello.open = h->open;
	if (h->abroad)
		hello.abroad = h->abroad;
	if (l->parent_name && !l->id)
		hello.parent = l->parent_name;
	if (hello.level && !l->id && (l->nonce || getrandom(&l->nonce, sizeof(l->nonce), 0) == sizeof(l->nonce)))
		hello.nonce = l->nonce;
	if (l->ticket_size)
		hello.ticket = (ProtobufCBinaryData){ l->ticket_size, l->ticket };
	else if (l->address_kind == ADDRESS_TCP || l->address_kind == ADDRESS_TLS)
		hello.cookie = (ProtobufCBinaryData){ read_cookie(l, cookie, sizeof(cookie)), cookie };
	l->asked_ids = 1;
	pump_control(h, FRAME_HELLO, &hello.base, -1);
}

static void greet(struct brood *h, int in_fd, int out_fd)
{
	struct link *l = &h->link;
	if (!l->slab_made && slab_init(&l->slab, SLAB_SIZE) < 0) {
		if (out_fd != in_fd)
			close(out_fd);
		fail(h, "broker.lost", "out of memory for the connection to the broker", -ENOMEM);
		return;
	}
	l->slab_made = 1;
	l->greeted = 1;
	l->deserted = 0;
	l->source.fd = in_fd;
	l->state = LINK_GREETING;
	l->full = 0;
	l->readable = 0; /* a pipe that its writer has not opened yet would show an end */
	l->enlarged = 0;
	channel_init(&l->channel, in_fd, out_fd, &l->slab);
	if (l->address_kind != ADDRESS_UNIX)
		l->channel.takes_fds = 0;
	if (l->address_kind == ADDRESS_TLS && !l->inherited && l->tls_api->connect(l->tls, &l->channel, l->host) < 0) {
		fail(h, "memory", "out of memory for TLS", -ENOMEM);
		return;
	}
	await_answer(h);
	if (!l->inherited)
		say_hello(h, CHILD_IDS);
}

static void try_later(struct brood *h, unsigned ms)
{
	h->link.state = LINK_DIALING;
	timer_arm(&h->timers, &h->link.timer, handle_now() + ms);
}

/* Programs that lost the same broker do not come back in step. */
static unsigned jitter(const struct brood *h, unsigned ms)
{
	uint64_t x = ((uint64_t)(uintptr_t)h ^ handle_now()) * 0x9e3779b97f4a7c15u;
	return ms / 2 + (unsigned)((x >> 33) % (ms / 2 + 1));
}

static void try_to_get_back(struct brood *h)
{
	struct link *l = &h->link;
	try_later(h, jitter(h, l->back_off));
	l->back_off = l->back_off * 2 < BACK_OFF_MOST_MS ? l->back_off * 2 : BACK_OFF_MOST_MS;
}

static int start_private_broker(struct brood *h)
{
	struct link *l = &h->link;
	struct spawned broker;
	struct spawn_failure why;
	int rc = autostart(&broker, &why);
	if (rc < 0)
		return rc;
	l->started = 1;
	l->starter.fd = broker.pidfd;
	handle_watch(h, &l->starter, EPOLLIN);
	return 0;
}

static int is_untrusted(const struct link *l, int code)
{
	return l->address_kind == ADDRESS_FIFO && code == -EPERM;
}

static const char *why_not_reached(const struct link *l, int code)
{
	if (is_untrusted(l, code))
		return "its directory must be yours alone (chmod 700, no symbolic link) and is not, so the broker is "
		       "not trusted";
	if (code == -EHOSTUNREACH && l->host[0])
		return "the broker's host is not known, or cannot be reached,";
	return "cannot reach the broker";
}

static void dial_failed(struct brood *h, int code)
{
	struct link *l = &h->link;
	int absent = code == -ENOENT || code == -ECONNREFUSED || code == -ECONNRESET;
	l->deserted = code == -ENOENT || code == -ECONNREFUSED;
	if (code == -EAGAIN && is_patient(h)) {
		try_later(h, 5);
	} else if (absent && l->autostart && is_patient(h)) {
		int rc = l->started || l->starter.fd >= 0 ? 0 : start_private_broker(h);
		if (rc < 0)
			fail(h, "broker.absent", "cannot start a private broker (broodd)", rc);
		else
			try_later(h, 3);
	} else if ((l->resuming || l->greeted) && is_patient(h)) {
		try_to_get_back(h);
	} else {
		const char *name = l->resuming ? "broker.lost" : "broker.absent";
		fail(h, is_untrusted(l, code) ? "broker.untrusted" : name, why_not_reached(l, code), code);
	}
}

/* Where another one sits for a moment, mine may come back. */
static void greet_if_trusted(struct brood *h)
{
	struct link *l = &h->link;
	char why[160];
	struct fault f;
	int code = 0;
	if (l->address_kind == ADDRESS_UNIX)
		code = trust_socket(l->address + strlen("unix:"), l->source.fd, why, sizeof(why));
	if (code == 0) {
		greet(h, l->source.fd, l->source.fd);
	} else if (l->resuming && is_patient(h)) {
		disconnect(h);
		try_to_get_back(h);
	} else {
		fault_set_code(&f, code, "broker.untrusted", "the broker at %s is not trusted: %s", l->address, why);
		link_fail(h, &f);
	}
}

static void knock_now(struct brood *h, const struct address *a)
{
	struct link *l = &h->link;
	int in_fd, out_fd, rc = knock(&l->knock, a, &in_fd, &out_fd);
	if (rc < 0) {
		dial_failed(h, rc);
		return;
	}
	l->knocker.fd = l->knock.rendezvous;
	handle_watch(h, &l->knocker, EPOLLERR);
	l->source.fd = in_fd;
	handle_watch(h, &l->source, EPOLLIN);
	greet(h, in_fd, out_fd);
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
	struct link *l = &h->link;
	struct tls_files files = { setting("BROOD_TLS_CA"), setting("BROOD_TLS_CERT"), setting("BROOD_TLS_KEY"),
				   setting("BROOD_TLS_CRL") };
	struct tls_fault why;
	struct fault f;
	/* A child of another user than its parent: its ticket says who it is, where the broker wants no certificate. */
	if (l->ticket_size && files.key && access(files.key, R_OK) < 0 && errno == EACCES)
		files.certificate = files.key = NULL;
	if (!l->tls_api)
		l->tls_api = tls_load(&why);
	if (l->tls_api && !l->tls)
		l->tls = l->tls_api->client(&files, &why);
	if (l->tls)
		return 0;
	fault_set(&f, why.name, "%s: %s", l->address, why.text);
	link_fail(h, &f);
	return -1;
}

static void connect_to(struct brood *h, const struct address *a)
{
	struct link *l = &h->link;
	int pending = 0, fd = dial(a, &pending);
	if (fd < 0) {
		dial_failed(h, fd);
		return;
	}
	dial_tune(fd, a->kind);
	l->source.fd = fd;
	handle_watch(h, &l->source, pending ? EPOLLOUT : EPOLLIN);
	if (pending) {
		l->state = LINK_CONNECTING;
		await_answer(h);
	} else {
		greet_if_trusted(h);
	}
}

/* It goes on until the patience of the whole attempt ends: another question would have no other answer. */
static void resolve_now(struct brood *h, const struct address *a)
{
	struct link *l = &h->link;
	int rc = l->tls_api->resolve_begin(&l->resolving, a);
	if (rc < 0) {
		dial_failed(h, rc);
		return;
	}
	l->state = LINK_RESOLVING;
	l->resolver.fd = l->tls_api->resolve_fd(l->resolving);
	handle_watch(h, &l->resolver, EPOLLIN);
	look_again(h, l->give_up);
}

static void resolver_ready(struct source *s, unsigned events)
{
	struct link *l = (struct link *)(void *)((char *)s - offsetof(struct link, resolver));
	struct brood *h = handle_of(l);
	struct address a;
	int rc = l->resolving ? l->tls_api->resolve_answer(l->resolving, &a) : -EINPROGRESS;
	(void)events;
	if (rc == -EINPROGRESS) /* the event was of an earlier question */
		return;
	stop_resolving(h);
	l->state = LINK_DIALING;
	if (rc < 0)
		dial_failed(h, rc);
	else
		connect_to(h, &a);
}

static void dial_now(struct brood *h)
{
	struct link *l = &h->link;
	struct address a;
	char why[160];
	if (address_parse(l->address, &a, why, sizeof(why)) < 0) {
		struct fault f;
		fault_set(&f, "address.invalid", "%s", why);
		link_fail(h, &f);
		return;
	}
	l->address_kind = (int)a.kind;
	if (a.kind == ADDRESS_FIFO) {
		knock_now(h, &a);
		return;
	}
	l->loopback = a.loopback;
	memcpy(l->host, a.host, sizeof(l->host));
	if (a.kind == ADDRESS_TLS && open_tls(h) < 0)
		return;
	if (a.length == 0)
		resolve_now(h, &a);
	else
		connect_to(h, &a);
}

/* The private broker that took the socket's place says nothing: name it. */
static long lock_holder(const struct link *l)
{
	char path[160], text[24] = "";
	int n = (int)strlen(l->address) - (int)strlen("unix:");
	n -= l->address_kind == ADDRESS_FIFO ? 0 : (int)strlen("/sock");
	if (n <= 0)
		return 0;
	snprintf(path, sizeof(path), "%.*s/lock", n, l->address + strlen("unix:"));
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t got = read(fd, text, sizeof(text) - 1);
	close(fd);
	return got > 0 ? strtol(text, NULL, 10) : 0;
}

static void lost_patience(struct brood *h)
{
	struct fault f;
	if (h->link.resuming && is_patient(h)) {
		disconnect(h);
		try_to_get_back(h);
		return;
	}
	long pid = h->link.inherited ? 0 : lock_holder(&h->link);
	if (pid)
		fault_set_code(&f, -ETIMEDOUT, "broker.absent",
			       "the broker at %s (pid %ld) accepts but does not answer", h->link.address, pid);
	else
		fault_set_code(&f, -ETIMEDOUT, "broker.absent", "the broker at %s does not answer",
			       h->link.inherited ? "the inherited channel" : h->link.address);
	link_fail(h, &f);
}

static void look_for_answer(struct brood *h)
{
	if (handle_awake(h) < h->link.answer_by)
		look_again(h, h->link.answer_by);
	else
		lost_patience(h);
}

static void dial_again(struct timer *t)
{
	struct link *l = (struct link *)(void *)((char *)t - offsetof(struct link, timer));
	struct brood *h = handle_of(l);
	if (l->state == LINK_DIALING)
		dial_now(h);
	else if (l->state == LINK_RESOLVING && is_patient(h))
		look_again(h, l->give_up);
	else if (l->state == LINK_RESOLVING)
		fail(h, "broker.absent", "the resolver does not answer for the host of the broker", -ETIMEDOUT);
	else if (l->state == LINK_CONNECTING || l->state == LINK_GREETING)
		look_for_answer(h);
}

static void connect_finished(struct brood *h)
{
	struct link *l = &h->link;
	int rc = dial_result(l->source.fd);
	if (rc < 0) {
		/* Somebody accepted, and it was cut before I saw that; or it was cut here, from outside. */
		l->greeted |= rc == -ECONNRESET || rc == -ECONNABORTED;
		disconnect(h);
		dial_failed(h, rc);
		return;
	}
	handle_watch(h, &l->source, EPOLLIN);
	greet_if_trusted(h);
}

void link_need(struct brood *h)
{
	struct link *l = &h->link;
	if (l->state != LINK_IDLE)
		return;
	l->give_up = handle_awake(h) + PATIENCE_MS;
	l->back_off = BACK_OFF_MS;
	if (!l->inherited) {
		l->state = LINK_DIALING;
		dial_now(h);
	} else {
		handle_watch(h, &l->source, EPOLLIN);
		greet(h, l->source.fd, l->source.fd);
	}
}

int link_passes_fds(struct brood *h)
{
	link_need(h); /* which decides for an address */
	return h->link.channel.slab ? h->link.channel.takes_fds : h->link.address_kind == ADDRESS_UNIX;
}

/* ---- ids for children -------------------------------------------------------------------------------------------- */

int link_need_ids(struct brood *h)
{
	struct link *l = &h->link;
	uint64_t left = l->last_id + 1 - l->next_id;
	if (left < CHILD_IDS / 2 && !l->asked_ids && link_is_up(h))
		say_hello(h, CHILD_IDS);
	return l->next_id <= l->last_id;
}

uint64_t link_take_id(struct brood *h, uint64_t parent, uint8_t ticket[TICKET_SIZE])
{
	struct link *l = &h->link;
	struct ticket t = { .id = l->next_id++, .parent = parent, .first = l->first_id, .uid = (uint32_t)getuid() };
	ticket_mint(l->ids_key, &t, ticket);
	return t.id;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void keep_text(char *to, size_t n, const char *text)
{
	snprintf(to, n, "%s", text);
}

static void came_up(struct brood *h)
{
	if (h->link.state == LINK_LEAVING)
		return;
	int resumed = h->link.resuming;
	timer_cancel(&h->timers, &h->link.timer);
	h->link.state = LINK_UP;
	h->link.resuming = 0;
	if (resumed)
		h->link.up->back(h);
	else
		h->link.up->up(h);
}

static void take_ticket(struct link *l, const ProtobufCBinaryData *t)
{
	if (t->len != TICKET_SIZE)
		return;
	memcpy(l->ticket, t->data, TICKET_SIZE);
	l->ticket_size = TICKET_SIZE;
}

static void take_birth(struct brood *h, const ProtobufCMessage *m)
{
	const Brood__Birth *birth = (const Brood__Birth *)m;
	struct link *l = &h->link;
	if (l->state != LINK_GREETING || !l->inherited)
		return;
	l->id = birth->id;
	l->parent = birth->parent;
	keep_text(l->node, sizeof(l->node), birth->node);
	keep_text(l->address, sizeof(l->address), birth->address);
	take_ticket(l, &birth->ticket);
	l->last_id = 0;
	if (*birth->name)
		l->up->named(h, birth->name);
	came_up(h);
}

static void take_hello_ok(struct brood *h, const ProtobufCMessage *m)
{
	const Brood__HelloOk *ok = (const Brood__HelloOk *)m;
	struct link *l = &h->link;
	l->asked_ids = 0;
	if (l->resuming && ok->id != l->id) {
		fail(h, "broker.lost", "the broker does not know this process any more", 0);
		return;
	}
	l->id = ok->id;
	l->parent = ok->parent;
	keep_text(l->node, sizeof(l->node), ok->node);
	/* What the broker calls itself need not be reachable from here: it knows of no tunnel and no other mount. */
	if (*ok->address && !l->fixed)
		keep_text(l->address, sizeof(l->address), ok->address);
	take_ticket(l, &ok->ticket);
	if (ok->ids && ok->ids_key.len == TICKET_KEY) {
		l->first_id = l->next_id = ok->first_id;
		l->last_id = ok->first_id + ok->ids - 1;
		memcpy(l->ids_key, ok->ids_key.data, TICKET_KEY);
	}
	came_up(h);
}

/*
 * The broker has my id in its care, and would know me again. But for who accepts and then closes, each time, the patience
 * ends as for who does not accept.
 */
static int may_come_back(struct brood *h)
{
	const struct link *l = &h->link;
	int too_late = l->resuming && !is_patient(h);
	return l->id && l->ticket_size && *l->address && !h->stopping && !too_late && !(h->flags & BROOD_NO_RECONNECT);
}

/* It ended before it knew me: it was about to leave, or died. Another may come, or be started. */
static int may_greet_again(struct brood *h)
{
	const struct link *l = &h->link;
	return l->state == LINK_GREETING && !l->inherited && is_patient(h) &&
	       (l->autostart || !(h->flags & BROOD_NO_RECONNECT));
}

/* The connection is lost, not the relation: dial until the broker is there again. */
static void get_back(struct brood *h)
{
	struct link *l = &h->link;
	int unheard =
		l->inherited && !l->heard; /* my parent could not pass it on: nothing broke, so nobody else comes now */
	int was_up = l->state == LINK_UP && !unheard;
	disconnect(h);
	if (!l->resuming) {
		l->give_up = handle_awake(h) + l->reconnect_ms;
		l->back_off = BACK_OFF_MS;
	}
	l->resuming = 1;
	l->inherited = 0;
	l->started = 0;
	l->deserted = 0;
	l->asked_ids = 0;
	l->next_id = 1; /* a broker that was restarted does not know which ids were mine to give */
	l->last_id = 0;
	if (was_up)
		l->up->away(h);
	if (l->state != LINK_DOWN && unheard)
		try_later(h, 0);
	else if (l->state != LINK_DOWN)
		try_to_get_back(h);
}

/* It may be otherwise the next time: there is room then, or I am not stopped in the middle of my HELLO. */
static int is_about_this_try(struct brood *h, const char *error)
{
	if (strcmp(error, "hello.timeout") == 0)
		return h->link.resuming || may_greet_again(h);
	return h->link.resuming && (strcmp(error, "broker.full") == 0 || strncmp(error, "limit.", 6) == 0);
}

static void take_goodbye(struct brood *h, const ProtobufCMessage *m)
{
	const Brood__Goodbye *bye = (const Brood__Goodbye *)m;
	struct fault f;
	if (bye->parting == BROOD__PARTING__PARTING_RESTARTING && may_come_back(h)) {
		get_back(h);
		return;
	}
	if (bye->parting != BROOD__PARTING__PARTING_REFUSED) {
		if (!may_greet_again(h)) /* of one that never knew me nothing has to be finished */
			h->link.up->stopping(h);
		return;
	}
	if (is_about_this_try(h, bye->error))
		return; /* it closes the connection */
	fault_set_code(&f, bye->code < 0 ? bye->code : -EACCES, bye->error, "%s", bye->text);
	link_fail(h, &f);
}

static void take(struct brood *h, const struct frame *f, const ProtobufCMessageDescriptor *type,
		 void (*handler)(struct brood *, const ProtobufCMessage *))
{
	ProtobufCMessage *m;
	int rc = guard_unpack(type, f->body, f->length, 1, &m);
	if (rc == -ENOMEM) {
		pump_spoil(h);
		return;
	}
	if (rc < 0) {
		fail(h, "control.malformed", "the broker sent something that cannot be read", 0);
		return;
	}
	handler(h, m);
	guard_free(m);
}

static void take_frame(struct brood *h, const struct frame *f)
{
	switch (f->kind) {
	case FRAME_BIRTH:
		take(h, f, &brood__birth__descriptor, take_birth);
		break;
	case FRAME_HELLO_OK:
		take(h, f, &brood__hello_ok__descriptor, take_hello_ok);
		break;
	case FRAME_GOODBYE:
		take(h, f, &brood__goodbye__descriptor, take_goodbye);
		break;
	default:
		h->link.heard = 1;
		h->link.up->frame(h, f);
		break;
	}
}

int link_next(struct brood *h)
{
	struct frame f;
	if (h->link.source.fd < 0 || !h->link.channel.slab || h->link.spoiled)
		return 0;
	int rc = channel_next(&h->link.channel, &f);
	if (rc == -ENOMEM)
		pump_spoil(h);
	else if (rc < 0)
		fail(h, "broker.lost", "the broker sent something that is not a frame", rc);
	else if (rc == 1)
		take_frame(h, &f);
	return rc == 1;
}

/* The reason is TLS, and it will be the same the next time. A cut is no such reason, until the patience ends. */
static int tls_failed(struct brood *h)
{
	struct link *l = &h->link;
	const struct tls_fault *seen = l->tls ? l->tls_api->failure(&l->channel) : NULL;
	struct fault f;
	if (!seen || (strcmp(seen->name, "tls.cut") == 0 && (l->resuming || may_greet_again(h))))
		return 0;
	fault_set(&f, seen->name, "%s: %s", l->address, seen->text);
	link_fail(h, &f);
	return 1;
}

/* The connection ended. */
static void ended(struct brood *h, int code)
{
	struct link *l = &h->link;
	if (tls_failed(h))
		return;
	if (l->state == LINK_LEAVING && h->stopping) {
		fail(h, "broker.stopping", "the broker has stopped", 0);
		return;
	}
	if (l->state == LINK_LEAVING) {
		disconnect(h);
		l->state = LINK_DOWN;
		return;
	}
	if (may_come_back(h)) {
		get_back(h);
		return;
	}
	if (may_greet_again(h)) {
		disconnect(h);
		l->started = 0;
		try_later(h, jitter(h, 2 * BACK_OFF_MS));
		return;
	}
	fail(h, "broker.lost", "the connection to the broker ended", code);
}

void link_renew(struct brood *h)
{
	if (h->link.spoiled)
		ended(h, -ENOMEM);
}

int link_read(struct brood *h)
{
	struct link *l = &h->link;
	if (l->source.fd < 0 || l->state < LINK_GREETING || l->spoiled)
		return 0;
	l->readable = 0;
	ssize_t n = channel_read(&l->channel);
	if (l->tls)
		pump_interest(h); /* a handshake may have ended, and HELLO waits */
	if (n > 0) {
		if (l->knock.rendezvous >= 0)
			stop_knocking(h, 1);
		return 1;
	}
	if (n == 0 || (n != -EAGAIN && n != -ENOBUFS && n != -EINTR))
		ended(h, (int)n);
	return 0;
}

static void has_room(struct brood *h)
{
	h->link.full = 0;
	if (channel_drain(&h->link.channel, NULL) == 0)
		pump_interest(h);
}

static void channel_ready(struct source *s, unsigned events)
{
	struct link *l = (struct link *)(void *)((char *)s - offsetof(struct link, source));
	struct brood *h = handle_of(l);
	if (l->state == LINK_CONNECTING) {
		connect_finished(h);
		return;
	}
	if (events & ~(unsigned)EPOLLOUT)
		l->readable = 1;
	if (events & EPOLLOUT)
		has_room(h);
}

/* Also when nobody reads there any more: then writing fails, and the end of what comes ends the link. */
static void outlet_ready(struct source *s, unsigned events)
{
	struct link *l = (struct link *)(void *)((char *)s - offsetof(struct link, outlet));
	struct brood *h = handle_of(l);
	if (events & EPOLLERR)
		pump_unwatch(h);
	has_room(h);
}

/* The broker ended, or listens no more. If it has come already, it says so itself. */
static void knocker_ready(struct source *s, unsigned events)
{
	struct link *l = (struct link *)(void *)((char *)s - offsetof(struct link, knocker));
	struct brood *h = handle_of(l);
	(void)events;
	handle_watch(h, s, 0);
	s->fd = -1;
	if (knock_is_vain(&l->knock, l->channel.in_fd, l->channel.out_fd))
		ended(h, -ECONNRESET);
}

static void starter_ready(struct source *s, unsigned events)
{
	struct link *l = (struct link *)(void *)((char *)s - offsetof(struct link, starter));
	(void)events;
	reap_starter(handle_of(l), WNOHANG);
}

/* Whoever does not hear that a message was consumed must report it. */
static void acknowledge_all(struct brood *h)
{
	struct remote *r;
	for (r = h->by_id; r; r = r->hh.next) {
		uint64_t consumed = inflow_consumed(&r->in);
		if (consumed > r->in.told)
			inflow_ask(&r->in, consumed);
		remote_touch(r);
	}
}

int link_may_be_known(const struct brood *h)
{
	const struct link *l = &h->link;
	return l->state > LINK_IDLE && l->state < LINK_UP && l->greeted && !l->deserted;
}

void link_leave(struct brood *h)
{
	Brood__Goodbye bye = BROOD__GOODBYE__INIT;
	if (h->link.state != LINK_UP && h->link.state != LINK_GREETING)
		return;
	acknowledge_all(h);
	h->link.full = 0; /* the last chance, so try */
	pump_run(h);
	bye.parting = BROOD__PARTING__PARTING_LEAVING;
	pump_control(h, FRAME_GOODBYE, &bye.base, -1);
	h->link.state = LINK_LEAVING;
}
