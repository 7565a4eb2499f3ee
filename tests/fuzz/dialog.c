/*
 * The library against a broker that follows a script. The handle has an inherited channel, and may come back to a socket where
 * the same broker listens. A step of the script is something that the broker says (also for a parent and two other
 * processes, each with its stream, and how often it began anew), a connection that ends or is accepted, time, or a
 * call of the program. Whatever comes: what the library writes is what a client may write, every request and every
 * confirmation ends once, the parent ends at most once, and nothing is left when the handle is closed.
 */
#include "brood.pb-c.h"
#include "message.h"
#include "script.h"
#include "target.h"
#include "virtual.h"
#include <brood.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define STEPS_MOST 120
#define OTHERS 3u /* the parent and two strangers */
#define PEERS 4u
#define KEPT 4u
#define OPEN_MOST 64
#define READ_ROOM (FRAME_MAX + 65536u)
#define ID(n) ((uint64_t)7 << 32 | (n))
#define ME ID(9)

struct stream { /* of one of the others to the handle */
	uint64_t next;
	unsigned mine, yours; /* generations */
};

struct run {
	struct script script;
	brood *handle;
	int channel, listener; /* the broker's ends; channel -1: there is none */
	size_t n;              /* bytes that the library wrote, not looked at yet */
	struct stream streams[OTHERS];
	brood_peer *peers[PEERS]; /* found */
	brood_msg *kept[KEPT];
	unsigned n_kept;
	int64_t request; /* the last one */
	unsigned asked, answered, confirmed, to_confirm;
	unsigned parent_gone, parent_closed;
};

static _Alignas(8) uint8_t frame[FRAME_MAX + 8], written[READ_ROOM];
static struct sockaddr_un place = { .sun_family = AF_UNIX };
static uint8_t ticket[64] = "whatever the broker says it is";

static int count_open(void)
{
	int n = 0;

	for (int fd = 0; fd < OPEN_MOST; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* ---- the program ------------------------------------------------------------------------------------------------- */

static int on_message(const brood_event *e)
{
	struct run *r = e->data;

	must(strlen(e->msg->type) <= ITEM_TYPE_MAX);
	must(((const char *)e->msg->body)[e->msg->length] == '\0');
	must(e->peer != brood_parent(e->handle) || r->parent_gone == 0);
	if (e->msg->n_fds > 0) {
		int fd = brood_msg_take_fd(e->msg, 0);

		must(fd > 2 && close(fd) == 0);
	}
	if (e->msg->length % 4 == 3)
		return -EAGAIN;
	if (e->msg->length % 4 == 2 && r->n_kept < KEPT)
		r->kept[r->n_kept++] = brood_msg_keep(e->msg);
	else if (e->msg->wants_reply)
		return brood_reply(e->msg, BROOD_MSG("shop.Order", e->msg->body, e->msg->length));
	return 0;
}

static int on_disconnect(const brood_event *e)
{
	struct run *r = e->data;

	if (e->peer == brood_parent(e->handle))
		must(++r->parent_gone == 1 && r->parent_closed == 0);
	return 0;
}

static int on_close(const brood_event *e)
{
	struct run *r = e->data;

	if (e->peer == brood_parent(e->handle))
		must(++r->parent_closed == 1);
	return 0;
}

static int on_any(const brood_event *e)
{
	must(e->error ? *e->error->name != '\0' && e->error->code < 0 : 1);
	return 0;
}

static int on_answer(const brood_event *e)
{
	must(!e->error == (e->msg != NULL));
	((struct run *)e->data)->answered++;
	return 0;
}

static int on_confirm(const brood_event *e)
{
	((struct run *)e->data)->confirmed++;
	return 0;
}

static brood_peer *some_peer(struct run *r)
{
	uint8_t byte = script_byte(&r->script);

	return byte % (PEERS + 1) < PEERS ? r->peers[byte % (PEERS + 1)] : brood_parent(r->handle);
}

static void send_message(struct run *r)
{
	static const char body[300000] = "many fragments";
	uint8_t how = script_byte(&r->script);
	brood_peer *to = some_peer(r);
	size_t length = how % 8 == 7 ? sizeof(body) : how % 8;
	int rc;

	if (!to)
		return;
	rc = brood_send(to, BROOD_MSG(how & 8 ? "shop.Order" : NULL, body, length, .flags = how & 16 ? BROOD_MORE : 0,
				      .fds = how & 32 ? (int[]){ r->listener } : NULL, .n_fds = how & 32 ? 1 : 0,
				      .confirm = how & 64 ? on_confirm : NULL, .confirm_data = r));
	r->to_confirm += rc == 0 && (how & 64);
}

static void send_request(struct run *r)
{
	uint8_t how = script_byte(&r->script);
	brood_peer *to = some_peer(r);
	int64_t id;

	if (!to)
		return;
	id = brood_request(to, BROOD_TEXT("why?"), how & 1 ? 50 : -1, on_answer, r);
	r->asked += id > 0;
	r->request = id > 0 ? id : r->request;
}

static void find(struct run *r)
{
	static const char *const addresses[] = { "7.1", "7.3", "7.4", "@broker", "7.9" };
	uint8_t which = script_byte(&r->script), slot = which / 16 % PEERS;
	brood_peer *found = NULL;

	if (r->peers[slot])
		brood_release(r->peers[slot]);
	(void)brood_find(r->handle, &found, which % 8 < 5 ? addresses[which % 8] : script_name(&r->script),
			 BROOD_FIND(.wait_ms = which & 8 ? 100 : 0));
	r->peers[slot] = found;
}

static void answer_kept(struct run *r)
{
	brood_msg *msg = r->n_kept > 0 ? r->kept[--r->n_kept] : NULL;
	uint8_t how = script_byte(&r->script);

	if (!msg)
		return;
	if (how % 4 == 1)
		(void)brood_reply(msg, BROOD_TEXT("late"));
	else if (how % 4 == 2)
		(void)brood_reply_error(msg, -EIO, "no");
	brood_msg_release(msg);
}

static void call_something(struct run *r)
{
	uint8_t what = script_byte(&r->script);
	brood_peer *peer = some_peer(r);

	if (what % 8 == 0)
		(void)brood_register(r->handle, script_name(&r->script));
	else if (what % 8 == 1)
		(void)brood_unregister(r->handle, what & 8 ? script_name(&r->script) : NULL);
	else if (what % 8 == 2)
		(void)brood_cancel(r->handle, r->request);
	else if (what % 8 == 3)
		(void)brood_stop(r->handle);
	else if (what % 8 == 4)
		(void)brood_sync(r->handle, 0);
	else if (what % 8 == 5 && peer)
		(void)brood_pause(peer, -1, what >> 3 & 1);
	else if (what % 8 == 6 && peer)
		(void)brood_disconnect(peer);
}

/* ---- the broker -------------------------------------------------------------------------------------------------- */

static void say(struct run *r, size_t size, unsigned n_fds)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))] = { 0 };
	struct iovec iov = { frame, size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (r->channel < 0 || size == 0)
		return;
	if (n_fds > 0) {
		struct cmsghdr *cmsg = (struct cmsghdr *)(void *)control;

		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), (int[4]){ 0 }, n_fds * sizeof(int));
	}
	(void)sendmsg(r->channel, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static uint64_t some_id(struct run *r)
{
	static const uint64_t ids[] = { ID(1), ID(3), ID(4), 0, ME, ID(5), 1, UINT64_MAX };

	return ids[script_byte(&r->script) % 8];
}

static struct stream *some_stream(struct run *r, uint64_t *id)
{
	static const uint64_t ids[OTHERS] = { ID(1), ID(3), ID(4) };
	unsigned which = script_byte(&r->script) % OTHERS;

	*id = ids[which];
	return &r->streams[which];
}

static struct frame head_of(const struct stream *s, uint64_t source)
{
	return (struct frame){ .source = source, .destination = ME, .stream = stream_make(s->mine, s->yours) };
}

static void data(struct run *r)
{
	uint64_t source;
	struct stream *s = some_stream(r, &source);
	struct frame head = head_of(s, source);
	unsigned n_fds;
	size_t size;

	head.acknowledge = script_number(&r->script);
	size = script_data(&r->script, frame, &head, &s->next, &n_fds);
	say(r, size, n_fds);
}

static void data_of_broker(struct run *r)
{
	struct stream s = { .next = script_number(&r->script) };
	struct frame head = head_of(&s, FRAME_BROKER);
	unsigned n_fds;
	size_t size = script_data(&r->script, frame, &head, &s.next, &n_fds);

	say(r, size, n_fds);
}

static void bare(struct run *r)
{
	uint8_t how = script_byte(&r->script);
	uint64_t source;
	struct stream *s = some_stream(r, &source);
	struct frame head = head_of(s, source);

	head.kind = (uint8_t)(FRAME_ACK + how % 3);
	head.sequence = script_number(&r->script);
	head.acknowledge = script_number(&r->script);
	if (how & 128)
		head.stream = (uint32_t)how << 25;
	say(r, script_bare(frame, &head), 0);
}

static void begin_anew(struct run *r)
{
	uint64_t source;
	struct stream *s = some_stream(r, &source);
	uint8_t how = script_byte(&r->script);

	if (how & 1)
		s->yours = (s->yours + 1) % 16;
	else
		*s = (struct stream){ .next = 1, .mine = (s->mine + 1 + (how >> 5)) % 16, .yours = s->yours };
}

static void hold_or_go(struct run *r)
{
	uint8_t how = script_byte(&r->script);
	struct frame head = { .kind = how & 1 ? FRAME_GO : FRAME_HOLD,
			      .flags = how & 2 ? FRAME_AWAY : 0,
			      .source = some_id(r),
			      .destination = ME };

	say(r, script_bare(frame, &head), 0);
}

static void gone(struct run *r)
{
	Brood__Gone m = BROOD__GONE__INIT;

	m.id = some_id(r);
	m.why = (Brood__Why)(script_byte(&r->script) % 7);
	say(r, script_control(frame, FRAME_GONE, &m.base), 0);
}

static void name(struct run *r)
{
	Brood__Name m = BROOD__NAME__INIT;

	m.name = (char *)(uintptr_t)script_name(&r->script);
	m.id = some_id(r);
	say(r, script_control(frame, FRAME_NAME, &m.base), 0);
}

static void registered(struct run *r)
{
	Brood__Registered m = BROOD__REGISTERED__INIT;
	uint8_t how = script_byte(&r->script);

	m.name = (char *)(uintptr_t)script_name(&r->script);
	m.code = how % 4 ? -(int)how : 0;
	m.error = (char *)(uintptr_t)(how & 64 ? "name.taken" : "");
	say(r, script_control(frame, FRAME_REGISTERED, &m.base), 0);
}

static void joined_or_end(struct run *r)
{
	Brood__Joined joined = BROOD__JOINED__INIT;
	Brood__End end = BROOD__END__INIT;

	joined.id = end.id = some_id(r);
	joined.pid = 1;
	joined.title = (char *)(uintptr_t) "joined";
	end.last = script_number(&r->script);
	if (end.last % 2)
		say(r, script_control(frame, FRAME_JOINED, &joined.base), 0);
	else
		say(r, script_control(frame, FRAME_END, &end.base), 0);
}

static void goodbye(struct run *r)
{
	static const char *const errors[] = { "limit.sessions", "broker.full", "hello.denied", "fenced", "" };
	Brood__Goodbye m = BROOD__GOODBYE__INIT;
	uint8_t how = script_byte(&r->script);

	m.parting = (Brood__Parting)(how % 5);
	m.code = how & 8 ? -EACCES : 0;
	m.error = (char *)(uintptr_t)errors[how / 16 % 5];
	say(r, script_control(frame, FRAME_GOODBYE, &m.base), 0);
}

static void hello_ok(struct run *r)
{
	Brood__HelloOk m = BROOD__HELLO_OK__INIT;
	uint8_t how = script_byte(&r->script);

	m.id = how % 8 == 7 ? some_id(r) : ME;
	m.parent = how & 8 ? some_id(r) : ID(1);
	m.node = (char *)(uintptr_t) "here";
	m.address = (char *)(uintptr_t)(how & 16 ? "unix:/nowhere" : "");
	m.ids = how & 32 ? script_byte(&r->script) : 0;
	m.first_id = ID(100);
	m.ids_key = (ProtobufCBinaryData){ how & 64 ? 32 : 3, ticket };
	m.ticket = (ProtobufCBinaryData){ how & 128 ? 3 : sizeof(ticket), ticket };
	say(r, script_control(frame, FRAME_HELLO_OK, &m.base), 0);
}

static void raw(struct run *r)
{
	const uint8_t *bytes;
	size_t n = script_bytes(&r->script, &bytes);

	if (n > 0)
		memcpy(frame, bytes, n);
	say(r, n, 0);
}

static void hang_up(struct run *r)
{
	if (r->channel >= 0)
		close(r->channel);
	r->channel = -1;
	r->n = 0;
}

/* Time enough for the library to try, then it is let in. */
static void let_in(struct run *r)
{
	virtual_pass(script_byte(&r->script) * 8u);
	(void)brood_process(r->handle, 0);
	if (r->channel >= 0)
		return;
	r->channel = accept4(r->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	r->n = 0;
	if (r->channel >= 0 && script_byte(&r->script) % 4)
		hello_ok(r);
}

static void pass_time(struct run *r)
{
	static const uint32_t ms[] = { 1, 20, 60, 101, 1000, 5001, 10001, 120001 };

	virtual_pass(ms[script_byte(&r->script) % 8]);
}

/* ---- what the library writes ------------------------------------------------------------------------------------- */

static void must_be_items(const struct frame *f)
{
	const uint8_t *at = f->body;
	struct item it;
	int r;

	while ((r = item_next(&at, f->body + f->length, &it)) == 1)
		must(!it.fds || f->flags & FRAME_FDS);
	must(r == 0 && f->length > 0 && f->sequence > 0);
}

static void must_be_a_clients(const struct frame *f)
{
	must(frame_is_routed(f->kind) || (f->kind >= FRAME_HELLO && f->kind <= FRAME_GOODBYE));
	must(f->source == 0 && f->source_node == 0 && f->destination_node == 0);
	if (f->kind == FRAME_DATA)
		must_be_items(f);
}

static void look_at_bytes(struct run *r)
{
	size_t at = 0;
	struct frame f;
	int rc;

	while ((rc = frame_parse(written + at, r->n - at, FRAME_MAX, &f)) == 1) {
		must_be_a_clients(&f);
		at += f.size;
	}
	must(rc == 0);
	memmove(written, written + at, r->n - at);
	r->n -= at;
}

static void listen_to_it(struct run *r)
{
	ssize_t got = 1;

	while (r->channel >= 0 && got > 0) {
		got = read(r->channel, written + r->n, READ_ROOM - r->n);
		if (got > 0) {
			r->n += (size_t)got;
			look_at_bytes(r);
		}
	}
	if (got == 0 || (got < 0 && errno != EAGAIN))
		hang_up(r);
}

/* ---- a run ------------------------------------------------------------------------------------------------------- */

static void (*const steps[])(struct run *) = {
	data,         bare,         hold_or_go,     gone,        name,      registered,     joined_or_end, goodbye,
	hello_ok,     raw,          hang_up,        let_in,      pass_time, find,           data,          begin_anew,
	send_message, send_request, call_something, answer_kept, data,      data_of_broker,
};

static void do_step(struct run *r)
{
	uint8_t byte = script_byte(&r->script);

	steps[byte % (sizeof(steps) / sizeof(*steps))](r);
	if (byte >= 220) /* more comes before the library looks */
		return;
	for (int i = 0; i < 4 && brood_process(r->handle, 0) > 0; i++)
		;
	listen_to_it(r);
}

static char directory[] = "/tmp/brood-dialog-XXXXXX";

static void remove_place(void)
{
	unlink(place.sun_path);
	rmdir(directory);
}

/* One socket for all runs; nobody waits there when one begins. */
static int listen_once(void)
{
	static int fd = -1;

	if (fd >= 0)
		return fd;
	must(mkdtemp(directory));
	snprintf(place.sun_path, sizeof(place.sun_path), "%s/sock", directory);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	must(fd >= 0 && bind(fd, (struct sockaddr *)&place, sizeof(place)) == 0 && listen(fd, 8) == 0);
	atexit(remove_place);
	return fd;
}

static void forget_callers(const struct run *r)
{
	int fd;

	while ((fd = accept4(r->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		close(fd);
}

static void be_born(struct run *r, uint8_t how)
{
	Brood__Birth m = BROOD__BIRTH__INIT;
	char address[128];

	snprintf(address, sizeof(address), "unix:%s", place.sun_path);
	m.id = ME;
	m.parent = ID(1);
	m.node = (char *)(uintptr_t) "here";
	m.address = how & 1 ? (char *)(uintptr_t) "" : address;
	m.ticket = (ProtobufCBinaryData){ how & 1 ? 0 : sizeof(ticket), ticket };
	m.name = (char *)(uintptr_t)(how & 2 ? "a" : "");
	say(r, script_control(frame, FRAME_BIRTH, &m.base), 0);
}

static int inherit(void)
{
	int fds[2];
	struct stat s;
	static char text[64]; /* is part of the environment, as setenv() would leak it in each run */

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0 && fstat(fds[0], &s) == 0);
	must(fcntl(fds[1], F_SETFL, O_NONBLOCK) == 0);
	snprintf(text, sizeof(text), "BROOD_FD=%d:%llu", fds[0], (unsigned long long)s.st_ino);
	must(putenv(text) == 0);
	return fds[1];
}

static void begin(struct run *r)
{
	static const struct brood_handlers on = {
		.size = sizeof(on), .message = on_message, .disconnect = on_disconnect, .close = on_close, .any = on_any
	};
	uint8_t how = script_byte(&r->script);

	for (unsigned i = 0; i < OTHERS; i++)
		r->streams[i].next = 1;
	r->channel = inherit();
	be_born(r, how);
	must(brood_connect(&r->handle, NULL,
			   BROOD_OPTIONS(.on = &on, .data = r, .flush_ms = 1,
					 .flags = how & 4 ? BROOD_NO_RECONNECT : 0)) == 0);
	(void)brood_process(r->handle, 0);
}

/* The broker is gone and whoever comes in its place does not answer, which ends the handle and all that it waits for. */
static void lose(struct run *r)
{
	hang_up(r);
	for (int i = 0; i < 5; i++) {
		virtual_pass(121000);
		(void)brood_process(r->handle, 0);
		forget_callers(r);
	}
}

static void end(struct run *r)
{
	while (r->n_kept > 0)
		brood_msg_release(r->kept[--r->n_kept]);
	lose(r);
	virtual_flow(1); /* close waits */
	(void)brood_close(r->handle);
	virtual_flow(0);
	must(r->answered == r->asked);
	must(r->confirmed == r->to_confirm);
	forget_callers(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct run r = { .script = { bytes, bytes + n }, .listener = listen_once() };
	int before = count_open();

	virtual_begin();
	begin(&r);
	for (int i = 0; i < STEPS_MOST && r.script.at < r.script.end; i++)
		do_step(&r);
	end(&r);
	must(count_open() == before);
	return 0;
}
