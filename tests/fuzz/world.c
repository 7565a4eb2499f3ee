/*
 * world: see world.h. home.c has its stand-in here: three small files that nobody writes. Sockets are pairs, entered as
 * the listener and the rendezvous enter theirs; there is no other way in, but for the socket that the broker opens
 * in its directory, which nobody connects to.
 */
#include "world.h"
#include "little.h"
#include "message.h"
#include "target.h"
#include "virtual.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FULL 16384u /* bytes that may be all that its socket holds */
#define READ_ROOM (FRAME_MAX + 65536u)
#define OPEN_MOST 64

/* ---- state files ------------------------------------------------------------------------------------------------- */

static const char *epoch;

ssize_t home_read(const struct home *home, const char *name, void *bytes, size_t n)
{
	const char *text = strcmp(name, "epoch") == 0 ? epoch
			   : strcmp(name, "key") == 0
				   ? "a key that only the broker knows"
				   : "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n";
	size_t length = strlen(text);

	(void)home;
	if (strcmp(name, "abroad") == 0) /* nobody was met so far */
		return -ENOENT;
	n = n < length ? n : length;
	memcpy(bytes, text, n);
	return (ssize_t)n;
}

int home_write(const struct home *home, const char *name, const void *bytes, size_t n)
{
	(void)home;
	(void)name;
	(void)bytes;
	(void)n;
	return 0;
}

void home_remove(const struct home *home, const char *name)
{
	(void)home;
	(void)name;
}

/* ---- beginning --------------------------------------------------------------------------------------------------- */

static char directory[PATH_MAX]; /* for the socket */
static uint8_t buffers[WORLD_PEERS][READ_ROOM] __attribute__((aligned(8)));
static int open_before;

static void remove_directory(void)
{
	rmdir(directory);
}

/* In memory if there is such a place, because a socket's file is made in each run. */
static void make_directory(void)
{
	strcpy(directory, "/dev/shm/brood-fuzz-XXXXXX");
	if (mkdtemp(directory))
		return;
	strcpy(directory, "/tmp/brood-fuzz-XXXXXX");
	must(mkdtemp(directory));
}

static int count_open(void)
{
	int n = 0;

	for (int fd = 0; fd < OPEN_MOST; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static const struct limits small = {
	.memory = 256u << 10,
	.queue = 128u << 10,
	.share = 64u << 10,
	.share_least = 16u << 10,
	.notes = 32u << 10,
	.user_notes = 48u << 10,
	.turn = 64u << 10,
	.quantum = 16u << 10,
	.destinations = 4,
	.names_per_process = 2,
	.watches_per_process = 2,
	.id_blocks_per_process = 2,
	.sessions_per_user = 4,
	.names_per_user = 3,
	.greetings_per_user = 2,
	.connections_per_user = 2,
	.connection_burst = 4,
	.connections = 0,
	.descriptors = 6,
	.awaited = 2,
	.absent = 2,
	.absent_seen = 1,
	.claims = 2,
	.hello_ms = 1000,
};

static void configure(struct world *w, struct world_kind kind)
{
	static const struct limits large = LIMITS_DEFAULT;

	w->config.away_ms = 120000;
	w->config.beat_ms = 60000; /* by a timer of the kernel's, which knows the true time only */
	w->config.level = LOG_DEBUG;
	strcpy(w->config.node, "here");
	w->config.limits = kind.small ? small : large;
	w->nodes[0] = (struct config_named){ .section = "peer", .name = "beta" };
	w->nodes[1] = (struct config_named){ .section = "peer", .name = "gamma" };
	w->config.named = w->nodes;
	w->config.n_named = kind.linked ? 2 : 0;
	strcpy(w->home.path, directory);
	w->home.fd = w->home.lock_fd = -1;
	epoch = kind.unclean ? "4000000000\n" : "4000000000 clean\n";
}

static void begin_peers(struct world *w)
{
	static const uint32_t users[WORLD_PEERS] = { 2000, 2000, 3000, WORLD_OWNER, WORLD_HONEST, WORLD_HONEST };

	for (unsigned i = 0; i < WORLD_PEERS; i++)
		w->peers[i] = (struct peer){
			.world = w, .in_fd = -1, .out_fd = -1, .uid = users[i], .next = 1, .bytes = buffers[i]
		};
}

/* Level 0, without anything else. */
static void greet(struct peer *p)
{
	uint8_t hello[FRAME_HEAD];

	world_connect(p, TRANSPORT_UNIX);
	frame_write_head(hello, &(struct frame){ .kind = FRAME_HELLO });
	world_send(p, hello, sizeof(hello), NULL, 0);
}

struct world *world_begin(struct world_kind kind)
{
	static struct world w;
	static int null_fd = -1;
	char why[512];

	if (null_fd < 0) {
		make_directory();
		atexit(remove_directory);
		null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	}
	open_before = count_open();
	virtual_begin();
	memset(&w, 0, sizeof(w));
	configure(&w, kind);
	log_init(&w.log, null_fd, LOG_DEBUG);
	must(broker_init(&w.broker, &w.config, &w.home, &w.log, why, sizeof(why)) == 0);
	must(identity_open_cookie(&w.broker.identity, "", why, sizeof(why)) == 0);
	w.broker.router.owner = w.broker.links.owner = WORLD_OWNER; /* whoever runs this */
	begin_peers(&w);
	greet(&w.peers[WORLD_STRANGERS]);
	greet(&w.peers[WORLD_STRANGERS + 1]);
	world_turn(&w);
	return &w;
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

static void set_nonblocking(int fd)
{
	must(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0);
}

static void begin_connection(struct peer *p, int in_fd, int out_fd)
{
	set_nonblocking(in_fd);
	set_nonblocking(out_fd);
	p->in_fd = in_fd;
	p->out_fd = out_fd;
	p->session = NULL;
	p->deaf = p->excused = p->told = p->links = 0;
	p->n = 0;
}

static void connect_pipes(struct peer *p, int broker[2])
{
	int up[2], down[2];

	must(pipe2(up, O_CLOEXEC) == 0 && pipe2(down, O_CLOEXEC) == 0);
	begin_connection(p, down[0], up[1]);
	broker[0] = up[0];
	broker[1] = down[1];
}

static void connect_sockets(struct peer *p, int broker[2])
{
	int fds[2];

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	begin_connection(p, fds[0], fds[0]);
	broker[0] = broker[1] = fds[1];
}

void world_connect(struct peer *p, enum process_transport transport)
{
	struct world *w = p->world;
	uint32_t uid = transport == TRANSPORT_TCP ? UINT32_MAX : transport == TRANSPORT_FIFO ? WORLD_OWNER : p->uid;
	int broker[2];

	if (w->broker.state != BROKER_RUNNING)
		return;
	if (transport == TRANSPORT_FIFO)
		connect_pipes(p, broker);
	else
		connect_sockets(p, broker);
	set_nonblocking(broker[0]);
	set_nonblocking(broker[1]);
	p->session = session_new(&w->broker.sessions, broker[0], broker[1], transport, uid);
	must(p->session);
	session_admit(p->session);
}

void world_inherit(struct peer *p, int fd)
{
	world_hang_up(p);
	begin_connection(p, fd, fd);
	p->excused = 1; /* its parent may say that it died */
}

void world_hang_up(struct peer *p)
{
	if (p->in_fd < 0)
		return;
	close(p->in_fd);
	if (p->out_fd != p->in_fd)
		close(p->out_fd);
	p->in_fd = p->out_fd = -1;
	p->session = NULL;
}

void world_send(struct peer *p, const uint8_t *bytes, size_t n, const int *fds, unsigned n_fds)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(PARCEL_MOST * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)(uintptr_t)bytes, n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (p->in_fd < 0 || n == 0)
		return;
	if (p->out_fd != p->in_fd) {
		(void)!write(p->out_fd, bytes, n);
		return;
	}
	if (n_fds > 0) {
		struct cmsghdr *cmsg = (struct cmsghdr *)(void *)control;

		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n_fds * sizeof(int));
	}
	(void)sendmsg(p->out_fd, &msg, MSG_NOSIGNAL);
}

/* ---- what comes -------------------------------------------------------------------------------------------------- */

static int is_honest(const struct peer *p)
{
	return p >= p->world->peers + WORLD_STRANGERS;
}

static struct peer *other(struct peer *p)
{
	struct peer *first = p->world->peers + WORLD_STRANGERS;

	return p == first ? p + 1 : first;
}

/* Users are kept apart: who is not related to it, and not the broker's user, does not reach it. */
static void must_be_allowed(struct peer *p, uint64_t source)
{
	const struct registry *registry = &p->world->broker.registry;
	const struct process *from = registry_find(registry, source), *to = registry_find(registry, p->id);

	must(!from || !from->proxy || !is_honest(p));
	if (from && from->proxy)
		return;
	if (from && to && from->uid && from->state != PROCESS_AWAITED)
		must(from->uid == to->uid || from->uid == WORLD_OWNER || to->uid == WORLD_OWNER ||
		     registry_related(from, to));
}

/* The other's message, or its acknowledgement; strangers may say what they like. */
static void honest_takes(struct peer *p, const struct frame *f)
{
	if (f->kind == FRAME_GO && f->source == other(p)->id)
		p->again = 1;
	if (f->source != other(p)->id || f->kind != FRAME_DATA)
		return;
	must(f->length == item_size(ITEM_MESSAGE, 0, 8));
	if (f->sequence != p->got + 1)
		return;
	must(get64(f->body + ITEM_HEAD) == p->world->serial);
	p->got++;
}

static void takes(struct peer *p, const struct frame *f)
{
	must(frame_is_routed(f->kind) || f->kind >= FRAME_HELLO_OK || f->kind == FRAME_GOODBYE ||
	     (p->links && f->kind == FRAME_WATCH));
	must(p->links || f->kind < FRAME_LINK);
	must(f->kind != FRAME_BIRTH);
	must(!p->told || !is_honest(p) || frame_is_routed(f->kind) || p->world->broker.state != BROKER_RUNNING);
	p->told |= f->kind == FRAME_GOODBYE;
	if (frame_is_routed(f->kind) && f->source != FRAME_BROKER && !p->links) /* a link gets those for a whole node */
		must_be_allowed(p, f->source);
	if (is_honest(p))
		honest_takes(p, f);
}

static void look_at_bytes(struct peer *p)
{
	size_t at = 0;
	struct frame f;
	int r;

	while ((r = frame_parse(p->bytes + at, p->n - at, FRAME_MAX, &f)) == 1) {
		takes(p, &f);
		at += f.size;
	}
	must(r == 0);
	memmove(p->bytes, p->bytes + at, p->n - at);
	p->n -= at;
}

static void closed(struct peer *p)
{
	must(p->told || p->excused);
	must(p->n == 0 || p->excused); /* not in the middle of a frame */
	world_hang_up(p);
}

/* Last words go out if there is room: where so much waited there may have been none. */
static void read_all(struct peer *p)
{
	size_t waited = 0;
	ssize_t got = 1;

	while (got > 0 && p->in_fd >= 0 && !p->deaf) {
		got = read(p->in_fd, p->bytes + p->n, READ_ROOM - p->n);
		if (got > 0) {
			waited += (size_t)got;
			p->n += (size_t)got;
			look_at_bytes(p);
		}
	}
	if (got > 0 || (got < 0 && errno == EAGAIN))
		return;
	p->excused |= !is_honest(p) && waited >= FULL;
	closed(p);
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

/* Who is at the other end, as the broker has it. */
static void learn(struct world *w, struct process *process)
{
	for (unsigned i = 0; i < WORLD_PEERS; i++) {
		struct peer *p = &w->peers[i];
		const struct process *parent = process->parent;
		const struct estate *has = estate_of(process);

		if (!process->sink || process->sink != (struct sink *)p->session)
			continue;
		p->id = process->id;
		p->first = has->n_blocks ? has->blocks[has->n_blocks - 1].first : 0;
		p->ticket = (struct ticket_of){ { .id = p->id, .parent = parent ? parent->id : 0, .uid = process->uid },
						process->uid };
	}
}

/* What came before the broker looked may be one helping more than the share. */
static void must_be_bounded(const struct world *w, const struct process *process)
{
	const struct edge *e;

	if (!process->port)
		return;
	LIST_FOREACH (e, &process->port->in, of_destination)
		must(!e->source || e->source->process->dying ||
		     e->queued <= w->config.limits.share + 2 * SLAB_HELPING + 3 * PARCEL_MOST * BACKLOG_FD_BYTES);
}

static void look_at_processes(struct world *w)
{
	struct process *process;

	for (uint32_t at = 0; (process = table_next(&w->broker.registry.processes, &at));) {
		learn(w, process);
		must_be_bounded(w, process);
	}
}

int world_runs(const struct world *w)
{
	return w->broker.state != BROKER_DONE;
}

/* As broker_run(), but without waiting: until nobody's turn is left. */
static void turn_broker(struct broker *b)
{
	for (int i = 0; i == 0 || (i < 100 && sessions_are_busy(&b->sessions)); i++) {
		must(event_base_loop(b->base, EVLOOP_ONCE | EVLOOP_NONBLOCK) >= 0);
		sessions_turn(&b->sessions);
	}
	must(!sessions_are_busy(&b->sessions));
	if (b->sessions.n == 0 && b->state == BROKER_DRAINING)
		b->state = BROKER_DONE;
}

void world_turn(struct world *w)
{
	if (!world_runs(w))
		return;
	turn_broker(&w->broker);
	look_at_processes(w);
	for (unsigned i = 0; i < WORLD_PEERS; i++)
		read_all(&w->peers[i]);
}

/* ---- the honest ones --------------------------------------------------------------------------------------------- */

static void say_serial(struct peer *p)
{
	_Alignas(8) uint8_t bytes[FRAME_HEAD + 64];
	const struct item it = { .kind = ITEM_MESSAGE, .length = 8, .total = 8 };
	struct frame head = { .kind = FRAME_DATA,
			      .destination = other(p)->id,
			      .sequence = p->next,
			      .length = (uint32_t)item_size(it.kind, 0, 8) };

	frame_write_head(bytes, &head);
	put64(item_write(bytes + FRAME_HEAD, &it), p->world->serial);
	p->again = 0;
	world_send(p, bytes, frame_size(head.length), NULL, 0);
}

static void exchange(struct world *w, struct peer *from)
{
	struct peer *to = other(from);
	uint64_t before = to->got;

	w->serial++;
	say_serial(from);
	for (int i = 0; i < 8 && to->got == before; i++) {
		world_turn(w);
		if (from->again)
			say_serial(from);
	}
	must(to->got == before + 1);
	from->next++;
	world_turn(w);
}

void world_serves(struct world *w)
{
	if (!world_runs(w))
		return;
	exchange(w, &w->peers[WORLD_STRANGERS]);
	exchange(w, &w->peers[WORLD_STRANGERS + 1]);
}

/* ---- ending ------------------------------------------------------------------------------------------------------ */

static void must_be_empty(const struct broker *b)
{
	must(b->sessions.n == 0 && b->sessions.fds_kept == 0);
	must(b->absences.n == 0 && b->absences.seen == 0);
	must(b->registry.processes.count == 0 && !b->registry.names);
	must(b->router.queued == 0 && b->router.n_awaited == 0);
	must(b->desk.n_claims == 0);
}

/* Those whose connection ended may come back for two minutes, and their children then for two more. */
static void outwait(struct world *w)
{
	for (int i = 0; i < 6; i++) {
		virtual_pass(125000);
		world_turn(w);
		world_turn(w);
	}
}

/* One read ends behind each call that brought descriptors, and a turn has one of them. */
static void read_to_the_end(struct world *w)
{
	for (int i = 0; i < 1000 && w->broker.sessions.n > 0; i++)
		world_turn(w);
}

void world_end(struct world *w)
{
	for (unsigned i = 0; i < WORLD_PEERS; i++)
		world_hang_up(&w->peers[i]);
	read_to_the_end(w);
	w->config.n_named = 0; /* processes of nodes that are known may come back for ever */
	links_configure(&w->broker.links, &w->config);
	outwait(w);
	if (w->broker.state == BROKER_RUNNING)
		must_be_empty(&w->broker);
	broker_deinit(&w->broker);
	must(count_open() == open_before);
}
