/*
 * session: reads frames, hands them to the router or the desk, and writes what others put into it. When, says `sessions`.
 *
 * Being ready: a session that has something to read, or room for what it could not be sent, waits in the schedule, and
 * is served one helping. If many wait, who is reported ready again is not watched until it was served, so a
 * thousand of them cost nothing meanwhile; and one of these that took much is not asked whether there is more, but waits
 * again at once.
 *
 * Writing: whatever was put during the turn is a list of pieces in an outbox, which the end of the turn writes. What a
 * socket does not take is copied to its channel and charged to the edges it came by; from then on everything queues up
 * behind it until the socket has room. So in the common case bytes are copied by the kernel only.
 *
 * Descriptors that came with a frame go with it, at the same place in the order: in the outbox, in the channel. For the
 * moment of routing they are in `sessions.parcel`, so that the router need not know of them; if the frame is dropped they
 * are still there behind it, and are closed, because its sender will send both again. Waiting ones are charged to
 * their edge, so that a sender is held before they become many. Where they cannot go (TCP, FIFOs, too many in all) the frame goes
 * on without FRAME_FDS, and its receiver refuses the message.
 *
 * TLS is the channel's affair. It is seen here in two places only: a handshake that fails is a refusal with a reason, and
 * what was read may ask to write. The time for a HELLO includes the handshake.
 *
 * Ending: session_close() marks, the end of the turn frees. A session whose socket refuses to be written to is first
 * read to its end: its last words count although nobody can answer.
 */
#include "session.h"
#include "absence.h"
#include "clock.h"
#include "dial.h"
#include "note.h"
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WRITE_MOST 65536u             /* of what was kept, or one call, at a time: 1 MiB took a millisecond */
#define REQUESTS_MOST (1024u * 1024u) /* unread bytes above which it may send no requests */
#define FDS_SHARE 2u                  /* one in so many of the broker's descriptors may wait to be passed on */
#define CROWD 32u                     /* so many may be reported ready again and again; more are not watched */
#define LIGHT_MOST 16384u             /* more than that in one helping makes a session a heavy one */
#define WORK_FRAME 64u                /* what takes as long as copying so many bytes: a frame to be routed, ... */
#define WORK_CONTROL 4096u            /* ... one for the broker itself, ... */
#define WORK_WRITE 1024u              /* ... another session to be written to */
#define LINGER_MOST 64                /* discarded pieces of input at the end of a TCP connection */

#define READY_READ 0x1u
#define READY_WRITE 0x2u

/*
 * Closing.
 */

static struct session_list *list_of(struct session *s)
{
	if (s->state == SESSION_CLOSING)
		return &s->all->closing;
	if (s->exhausting)
		return &s->all->exhausting;
	if (s->state == SESSION_LINK)
		return &s->all->links;
	return s->state == SESSION_LIVE ? &s->all->live : &s->all->fresh;
}

static void end_greeting(struct session *s)
{
	if (s->greets)
		account_give(s->account->all, s->account->uid, ACCOUNT_GREETINGS);
	s->greets = 0;
}

static void uncharge(struct session *s)
{
	end_greeting(s);
	if (s->counts)
		account_give(s->account->all, s->account->uid, ACCOUNT_SESSIONS);
	s->counts = 0;
}

static void close_for(struct session *s, const char *why)
{
	if (s->state == SESSION_CLOSING)
		return;
	TAILQ_REMOVE(list_of(s), s, of_state);
	s->state = SESSION_CLOSING;
	TAILQ_INSERT_TAIL(&s->all->closing, s, of_state);
	uncharge(s);
	event_del(&s->readable);
	if (s->writing)
		event_del(s->writable);
	s->writing = 0;
	s->ready = s->muted = 0;
	schedule_remove(&s->all->schedule, &s->waiter);
	if (s->process)
		s->all->ops->ended(s->all->data, s);
	s->process = NULL;
	if (!s->link)
		return;
	s->all->n_links--;
	s->all->ops->parted(s->all->data, s, why);
	s->link = NULL;
}

void session_close(struct session *s)
{
	close_for(s, "");
}

void session_exhaust(struct session *s)
{
	if (s->state == SESSION_CLOSING || s->exhausting)
		return;
	TAILQ_REMOVE(list_of(s), s, of_state);
	s->exhausting = 1;
	TAILQ_INSERT_TAIL(&s->all->exhausting, s, of_state);
}

static void say_goodbye(struct session *s, Brood__Parting parting, const struct error_reason *reason, char *text)
{
	Brood__Goodbye goodbye = BROOD__GOODBYE__INIT;

	goodbye.parting = parting;
	goodbye.text = text;
	if (reason) {
		goodbye.code = reason->code;
		goodbye.error = (char *)(uintptr_t)reason->name;
		goodbye.hint = (char *)(uintptr_t)reason->hint;
	}
	note_put(&s->sink, FRAME_GOODBYE, &goodbye.base);
}

/* "host:port" of the other end; NULL: it has none, or is gone already. */
static const char *where_from(const struct session *s, char *to, size_t n)
{
	struct sockaddr_storage address = { 0 };
	socklen_t length = sizeof(address);

	if (!transport_is_net((enum process_transport)s->transport) ||
	    getpeername(s->channel.in_fd, (struct sockaddr *)&address, &length) < 0)
		return NULL;
	return address_format(&address, length, to, n) + strlen("tcp://");
}

void session_refuse(struct session *s, const char *name, const char *format, ...)
{
	char text[256], from[sizeof("tcp://[]:65535") + INET6_ADDRSTRLEN];
	const struct error_reason *reason = error_reason(name);
	va_list args;

	if (s->state == SESSION_CLOSING)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	s->all->refused++;
	s->refused = 1;
	log_say(s->all->log, LOG_SESSION_REFUSED, FIELD_ID("id", s->process ? s->process->id : 0),
		FIELD_USER("uid", s->uid), FIELD_TEXT("from", where_from(s, from, sizeof(from))),
		FIELD_TEXT("error", name), FIELD_TEXT("text", text));
	say_goodbye(s, BROOD__PARTING__PARTING_REFUSED, reason, text);
	if (s->process)
		s->all->ops->refused(s->all->data, s->process, reason, text);
	close_for(s, text);
}

void session_say_leaving(struct session *s)
{
	char text[] = "the broker is going down";

	say_goodbye(s, s->all->parting, NULL, text);
}

/*
 * Sending.
 */

struct session *session_of(struct sink *sink)
{
	return (struct session *)sink;
}

/* The frame goes on without descriptors; its receiver sees that some should be there. */
static void strip(const uint8_t *frame)
{
	((uint8_t *)(uintptr_t)frame)[FRAME_FLAGS_AT] &= (uint8_t)~FRAME_FDS;
}

/* The frame that is being routed has descriptors. */
static int put_parcel(struct session *s, struct edge *edge, const uint8_t *bytes, size_t n)
{
	int r;

	if (!s->channel.takes_fds) {
		strip(bytes);
		return outbox_add(s->out, edge, bytes, n);
	}
	r = outbox_add_parcel(s->out, edge, bytes, n, s->all->parcel);
	if (r == 0)
		s->all->parcel = NULL;
	return r;
}

static int put_frame(struct session *s, struct edge *edge, const uint8_t *bytes, size_t n)
{
	if (s->all->parcel)
		return put_parcel(s, edge, bytes, n);
	return outbox_add(s->out, edge, bytes, n);
}

static void session_put(struct sink *sink, struct edge *edge, const uint8_t *bytes, size_t n)
{
	struct session *s = session_of(sink);
	int r = -ENOMEM;

	if (s->state == SESSION_CLOSING || s->exhausting)
		return;
	if (!s->out) {
		s->out = outbox_lend(&s->all->outboxes);
		s->all->work += WORK_WRITE;
		if (s->out)
			STAILQ_INSERT_TAIL(&s->all->dirty, s, of_dirty);
	}
	s->all->work += edge ? 0 : n;
	if (s->out)
		r = edge ? put_frame(s, edge, bytes, n) : outbox_copy(s->out, bytes, n);
	/* Bytes are missing now, so nothing more may go out; its senders will hear what became of it. */
	if (r < 0)
		session_exhaust(s);
}

/*
 * Being ready.
 */

static struct event *event_of(struct session *s, unsigned what)
{
	return what == READY_READ ? &s->readable : s->writable;
}

/* It has something to read, or room for what waits: it gets in line. */
static void queue_up(struct session *s, unsigned what)
{
	if (s->ready & what && s->all->schedule.n > CROWD) {
		event_del(event_of(s, what));
		s->muted |= (uint8_t)what;
	}
	s->ready |= (uint8_t)what;
	schedule_add(&s->all->schedule, &s->waiter, &s->account->lane);
}

static void on_readable(evutil_socket_t fd, short what, void *data)
{
	(void)fd;
	(void)what;
	queue_up(data, READY_READ);
}

static void on_writable(evutil_socket_t fd, short what, void *data)
{
	(void)fd;
	(void)what;
	queue_up(data, READY_WRITE);
}

/* It was served while its event was off: it waits at once, as there is likely to be more, or is watched again. */
static void wait_again(struct session *s, unsigned what, int more)
{
	if (more) {
		s->ready |= (uint8_t)what;
		return;
	}
	s->muted &= (uint8_t)~what;
	if (event_add(event_of(s, what), NULL) < 0)
		session_close(s);
}

static void wait_for_room(struct session *s)
{
	if (s->writing)
		return;
	if (!s->writable) {
		/* Its first time: now a local one gets the larger buffer that most connections never need. */
		if (!transport_is_net((enum process_transport)s->transport))
			dial_tune(s->channel.out_fd, s->transport == TRANSPORT_FIFO ? ADDRESS_FIFO : ADDRESS_UNIX);
		s->writable = event_new(s->all->base, s->channel.out_fd, EV_WRITE | EV_PERSIST, on_writable, s);
	}
	if (!s->writable || event_add(s->writable, NULL) < 0)
		session_close(s);
	else
		s->writing = 1;
}

/* Copy what the socket did not take, and charge it. */
static int keep_rest(struct session *s, struct outbox *out, size_t sent)
{
	for (unsigned i = 0; i < out->n; i++) {
		const struct iovec *piece = &out->pieces[i];
		size_t skip = sent < piece->iov_len ? sent : piece->iov_len;
		struct edge *edge = edge_alive(out->edges[i]);
		struct parcel *parcel;
		unsigned fds;

		sent -= skip;
		if (skip == piece->iov_len)
			continue;
		parcel = outbox_take_parcel(out, i);
		fds = parcel ? parcel->n : 0;
		if (channel_keep_parcel(&s->channel, (uint8_t *)piece->iov_base + skip, piece->iov_len - skip, edge,
					parcel) < 0)
			return -ENOMEM;
		s->all->fds_kept += fds;
		edge_charge(edge, piece->iov_len - skip + fds * BACKLOG_FD_BYTES);
	}
	return 0;
}

/* What waits is charged to edges, but for what the broker itself said. */
size_t session_notes(const struct session *s)
{
	return channel_kept_nobodys(&s->channel);
}

static void account_notes(struct session *s, size_t notes)
{
	s->account->notes += notes - s->notes;
	s->notes = (uint32_t)notes;
}

/* 1 if the broker's own words may wait. */
static int may_wait(struct session *s)
{
	const struct limits *limits = s->all->limits;

	account_notes(s, session_notes(s));
	if (s->link && s->notes <= limits->user_notes) /* it has many processes */
		return 1;
	if (s->notes > limits->notes)
		session_refuse(s, "limit.answers",
			       "%" PRIu32 " bytes of the broker's answers wait to be read, more than allowed "
			       "(limits.answers-per-session = %zu)",
			       s->notes, limits->notes);
	else if (s->notes > 0 && s->account->notes > limits->user_notes)
		session_refuse(s, "limit.answers",
			       "%zu bytes of the broker's answers wait to be read by user %" PRIu32
			       ", more than allowed (limits.answers-per-user = %zu)",
			       s->account->notes, s->account->uid, limits->user_notes);
	return s->state != SESSION_CLOSING;
}

static void keep_unsent(struct session *s, struct outbox *out, size_t sent)
{
	if (keep_rest(s, out, sent) < 0)
		session_close(s);
	else if (channel_wants_write(&s->channel) && may_wait(s))
		wait_for_room(s);
}

static size_t bytes_of(const struct outbox *out, unsigned first, unsigned end)
{
	size_t sum = 0;

	for (; first < end; first++)
		sum += out->pieces[first].iov_len;
	return sum;
}

/* The piece that the next parcel goes with. Above 0: both are on their way. */
static ssize_t write_parcel(struct session *s, struct outbox *out, unsigned piece)
{
	ssize_t sent = channel_write_parcel(&s->channel, &out->pieces[piece], 1, STAILQ_FIRST(&out->parcels));

	if (sent > 0)
		parcel_free(outbox_take_parcel(out, piece));
	return sent;
}

/* As channel_write() of all pieces: a piece with descriptors is written alone. */
static ssize_t write_pieces(struct session *s, struct outbox *out)
{
	unsigned first = 0, end;
	size_t all = 0;
	ssize_t sent;

	while (first < out->n) {
		const struct parcel *parcel = STAILQ_FIRST(&out->parcels);
		int alone = parcel && parcel->at == first;

		end = alone ? first + 1 : parcel ? (unsigned)parcel->at : out->n;
		if (alone)
			sent = write_parcel(s, out, first);
		else
			sent = channel_write(&s->channel, out->pieces + first, (int)(end - first));
		if (sent < 0)
			return sent;
		all += (size_t)sent;
		if ((size_t)sent < bytes_of(out, first, end))
			break;
		first = end;
	}
	return (ssize_t)all;
}

static ssize_t write_outbox(struct session *s, struct outbox *out)
{
	if (STAILQ_EMPTY(&out->parcels))
		return channel_write(&s->channel, out->pieces, (int)out->n);
	return write_pieces(s, out);
}

static int drain(struct session *s, backlog_left_fn *left)
{
	unsigned fds = channel_kept_fds(&s->channel);
	int r = channel_drain_some(&s->channel, left, WRITE_MOST);

	s->all->fds_kept -= fds - channel_kept_fds(&s->channel);
	return r;
}

void session_flush(struct session *s)
{
	struct outbox *out = s->out;
	ssize_t sent;

	s->out = NULL;
	/* A closing session's last words go out if there is room, else not at all. */
	if (s->state == SESSION_CLOSING && channel_wants_write(&s->channel))
		(void)drain(s, NULL);
	sent = write_outbox(s, out);
	if (sent < 0)
		session_exhaust(s);
	else if (s->state != SESSION_CLOSING)
		keep_unsent(s, out, (size_t)sent);
	outbox_return(&s->all->outboxes, out);
}

/* It may send requests again. */
static void unhold(struct session *s)
{
	if (!s->held || channel_kept_bytes(&s->channel) >= REQUESTS_MOST / 2)
		return;
	s->held = 0;
	note_about(&s->sink, FRAME_GO, 0, FRAME_BROKER);
}

static void stop_writing(struct session *s)
{
	event_del(s->writable);
	s->writing = 0;
	s->muted &= (uint8_t)~READY_WRITE;
}

static void write_kept(struct session *s)
{
	size_t before = channel_kept_bytes(&s->channel), written;

	if (drain(s, edge_uncharge) < 0) {
		/* It can be read to its end at most. */
		stop_writing(s);
		session_exhaust(s);
		return;
	}
	written = before - channel_kept_bytes(&s->channel);
	s->all->work += written + WORK_WRITE;
	account_notes(s, session_notes(s));
	unhold(s);
	if (!channel_wants_write(&s->channel))
		stop_writing(s);
	else if (s->muted & READY_WRITE)
		wait_again(s, READY_WRITE, written >= WRITE_MOST);
}

/*
 * Receiving.
 */

/* Requests make answers: whoever does not read these sends no more of those. */
static void request(struct session *s, const struct frame *f)
{
	if (channel_kept_bytes(&s->channel) <= REQUESTS_MOST && !s->held) {
		s->all->ops->request(s->all->data, s, f);
		return;
	}
	if (!s->held)
		note_about(&s->sink, FRAME_HOLD, 0, FRAME_BROKER);
	s->held = 1;
}

/* The rest of the descriptors is for connections. */
static int too_many_wait(const struct sessions *all, unsigned more)
{
	unsigned long most = all->limits->descriptors;

	if (most == 0)
		most = (unsigned long)sysconf(_SC_OPEN_MAX) / FDS_SHARE;
	return all->fds_kept > 0 && all->fds_kept + more > most;
}

/* What came with this frame, if it can be taken on; else the frame goes on without. */
static struct parcel *take_parcel(struct session *s, const struct frame *f)
{
	struct parcel *parcel = f->kind == FRAME_DATA ? channel_take_parcel(&s->channel) : NULL;

	if (parcel && !parcel->lost && !too_many_wait(s->all, parcel->n))
		return parcel;
	parcel_free(parcel);
	strip(f->bytes);
	return NULL;
}

/* Nobody was given it. */
static void drop_parcel(struct sessions *all)
{
	parcel_free(all->parcel);
	all->parcel = NULL;
}

/* Who can come back loses its connection only: what was under way is sent again. */
static void out_of_memory(struct session *s)
{
	if (!s->process || s->process->level == 0) {
		session_refuse(s, "broker.full", "the broker has no memory left");
		return;
	}
	log_say(s->all->log, LOG_SESSION_BROKEN, FIELD_ID("id", s->process->id), FIELD_TEXT("error", strerror(ENOMEM)));
	session_close(s);
}

static void refuse_destination(struct session *s)
{
	char id[ID_TEXT];
	uint32_t most = s->all->limits->destinations;

	session_refuse(s, "limit.destinations",
		       "process %s writes to %" PRIu32
		       " others, the most allowed (limits.destinations-per-process = %" PRIu32 ")",
		       id_format(s->process->id, id), s->process->port->out.count, most);
}

static void routed(struct session *s, const struct frame *f)
{
	int error;

	if (f->destination == FRAME_BROKER) {
		request(s, f);
		return;
	}
	if (f->flags & FRAME_FDS)
		s->all->parcel = take_parcel(s, f);
	error = router_route(s->all->router, s->process, f);
	if (s->all->parcel)
		drop_parcel(s->all);
	if (error == -ENOBUFS)
		refuse_destination(s);
	else if (error < 0)
		out_of_memory(s);
}

static void take_frame(struct session *s, const struct frame *f)
{
	int is_routed = frame_is_routed(f->kind);

	s->all->work += is_routed && f->destination != FRAME_BROKER ? WORK_FRAME : WORK_CONTROL;
	if (s->state == SESSION_LINK || (s->state == SESSION_NEW && (f->kind == FRAME_LINK || s->link)))
		s->all->ops->link(s->all->data, s, f);
	else if (s->state == SESSION_LIVE && is_routed)
		routed(s, f);
	else if (s->state == SESSION_LIVE || f->kind == FRAME_HELLO)
		s->all->ops->control(s->all->data, s, f);
	else
		session_refuse(s, "hello.expected", "the first frame was %s", frame_kind_name(f->kind));
}

static void refuse_bytes(struct session *s, int error)
{
	const struct channel *c = &s->channel;
	const uint8_t *bytes = c->carry ? c->carry->bytes : c->at;

	if (error == -EMSGSIZE)
		session_refuse(s, "frame.length", "a frame is longer than its kind may be, or than %" PRIu32 " bytes",
			       c->most);
	else if (error == -ENOMEM)
		out_of_memory(s);
	else if (bytes && (bytes < c->end || c->carry) && bytes[0] != FRAME_MAGIC)
		session_refuse(s, "frame.magic", "what came is not a frame: it begins with byte %#x", bytes[0]);
	else
		session_refuse(s, "frame.kind",
			       "a frame has an unknown kind, or descriptors came that belong to no frame");
}

/* Who does not speak TLS is told so without: it has shown nothing, and is shown nothing. */
static void refuse_tls(struct session *s, const struct tls_fault *seen)
{
	const struct tls_fault fault = *seen;

	if (strcmp(fault.name, "tls.plain") == 0)
		channel_expose(&s->channel);
	session_refuse(s, fault.name, "%s", fault.text);
}

static void take_frames(struct session *s)
{
	struct frame f;
	int r = 0;

	router_begin(s->all->router);
	while (s->state != SESSION_CLOSING && (r = channel_next(&s->channel, &f)) == 1)
		take_frame(s, &f);
	if (s->state == SESSION_CLOSING)
		return;
	if (r < 0)
		refuse_bytes(s, r);
}

ssize_t session_read(struct session *s)
{
	ssize_t got;

	got = channel_read(&s->channel);
	if (got > 0) {
		s->all->work += (size_t)got;
		s->heard = 1;
		take_frames(s);
		return s->state == SESSION_CLOSING ? -1 : got;
	}
	if (got == -EAGAIN)
		return 0;
	if (tls_failure(&s->channel))
		refuse_tls(s, tls_failure(&s->channel));
	else if (got == -EPROTO || got == -EMSGSIZE)
		refuse_bytes(s, (int)got);
	else if (got < 0)
		log_say(s->all->log, LOG_SESSION_BROKEN, FIELD_ID("id", s->process ? s->process->id : 0),
			FIELD_TEXT("text", strerror((int)-got)));
	return -1;
}

static void read_ready(struct session *s)
{
	ssize_t got = session_read(s);

	if (got > 0)
		s->waiter.heavy = got > (ssize_t)LIGHT_MOST;
	if (got < 0)
		session_close(s);
	else if (s->muted & READY_READ)
		wait_again(s, READY_READ, got > (ssize_t)LIGHT_MOST);
	if (got >= 0 && s->state != SESSION_CLOSING && channel_wants_write(&s->channel))
		wait_for_room(s); /* reading may make something to write: an answer of a handshake */
}

void session_serve(struct session *s)
{
	unsigned ready = s->ready;
	uint64_t before = s->all->work;

	s->ready = 0;
	if (ready & READY_WRITE && s->writing)
		write_kept(s);
	if (ready & READY_READ && s->state != SESSION_CLOSING)
		read_ready(s);
	schedule_charge(&s->all->schedule, &s->account->lane, s->all->work - before);
	if (s->ready)
		schedule_add(&s->all->schedule, &s->waiter, &s->account->lane);
}

/*
 * Beginning and end.
 */

/* Closing a TCP socket with unread input resets the connection, and the goodbye in it may be lost. */
static void linger(int fd)
{
	char unread[4096];

	shutdown(fd, SHUT_WR);
	for (int i = 0; i < LINGER_MOST && recv(fd, unread, sizeof(unread), MSG_DONTWAIT) > 0; i++)
		;
}

void session_free(struct session *s)
{
	event_del(&s->readable);
	if (s->writable)
		event_free(s->writable);
	channel_end(&s->channel);
	if (transport_is_net((enum process_transport)s->transport))
		linger(s->channel.in_fd);
	s->all->fds_kept -= channel_kept_fds(&s->channel);
	channel_deinit(&s->channel);
	account_notes(s, 0);
	account_release(s->account);
	s->all->n--;
	free(s);
}

struct session *session_new(struct sessions *all, int in_fd, int out_fd, enum process_transport transport, uint32_t uid)
{
	struct session *s = calloc(1, sizeof(*s));
	struct account *account = account_open(all->router->accounts, uid);

	if (!s || !account) {
		account_release(account);
		free(s);
		close(in_fd);
		if (out_fd != in_fd)
			close(out_fd);
		return NULL;
	}
	s->sink.put = session_put;
	s->all = all;
	if (transport != TRANSPORT_CHILD) /* that was a child's first, however late its parent tells of it */
		s->serial = ++all->serial;
	s->uid = uid;
	s->transport = (uint8_t)transport;
	s->since_ms = (uint32_t)clock_ms();
	s->account = account;
	channel_init(&s->channel, in_fd, out_fd, &all->slab);
	s->channel.most = FRAME_HELLO_MAX;
	if (transport_is_net(transport))
		s->channel.takes_fds = 0;
	event_assign(&s->readable, all->base, in_fd, EV_READ | EV_PERSIST, on_readable, s);
	TAILQ_INSERT_TAIL(&all->fresh, s, of_state);
	all->n++;
	if (event_add(&s->readable, NULL) < 0) {
		session_close(s);
		return NULL;
	}
	return s;
}

/* What r says was refused to its user. */
static void refuse_one_more(struct session *s, enum account_kind kind, int r)
{
	static const char *const names[] = {
		[ACCOUNT_SESSIONS] = "limit.sessions", [ACCOUNT_GREETINGS] = "limit.greetings"
	};
	const struct account *a = s->account;
	char text[ACCOUNT_TEXT];

	if (r == -ENOMEM)
		session_refuse(s, "broker.full", "the broker has no memory left");
	else
		session_refuse(s, r == -EAGAIN ? "limit.rate" : names[kind], "%s",
			       account_explain(a->all, a->uid, kind, r, text));
}

/* One user's many must not keep the others out. The broker's own user and root look after themselves. */
static int leaves_enough(struct session *s)
{
	const struct account *a = s->account;
	uint32_t set = s->all->limits->connections, most = set ? set : (uint32_t)sysconf(_SC_OPEN_MAX);

	if (a->uid == ACCOUNT_NOBODY || router_is_almighty(s->all->router, a->uid) || !account_has_its_part(a, most))
		return 1;
	session_refuse(s, "limit.sessions",
		       "user %" PRIu32 " has %" PRIu32
		       " sessions, and has to leave as many to others (limits.sessions = %" PRIu32 "%s)",
		       a->uid, a->has[ACCOUNT_SESSIONS], most, set ? "" : ", the limit of open files");
	return 0;
}

/* 0, or -ENOMEM. */
static int change_account(struct session *s, uint32_t uid)
{
	struct account *account = account_open(s->account->all, uid);
	int waits = s->waiter.lane != NULL;

	if (!account)
		return -ENOMEM;
	schedule_remove(&s->all->schedule, &s->waiter);
	account_notes(s, 0);
	account_release(s->account);
	s->account = account;
	if (waits)
		schedule_add(&s->all->schedule, &s->waiter, &account->lane);
	return 0;
}

int session_charge(struct session *s, uint32_t uid)
{
	int r = 0;

	if (s->counts && s->account->uid == uid)
		return 1;
	uncharge(s);
	if (s->account->uid != uid)
		r = change_account(s, uid);
	if (r == 0 && !leaves_enough(s))
		return 0;
	if (r == 0)
		r = account_take(s->account->all, uid, ACCOUNT_SESSIONS);
	s->counts = r == 0;
	if (r < 0)
		refuse_one_more(s, ACCOUNT_SESSIONS, r);
	return r == 0;
}

void session_admit(struct session *s)
{
	struct account *a = s->account;
	int r = account_knock(a->all, a->uid, clock_ms());

	if (r < 0) {
		refuse_one_more(s, ACCOUNT_SESSIONS, r);
		return;
	}
	if (!session_charge(s, a->uid))
		return;
	r = account_take(a->all, a->uid, ACCOUNT_GREETINGS);
	s->greets = r == 0;
	if (r < 0)
		refuse_one_more(s, ACCOUNT_GREETINGS, r);
}

void session_secure(struct session *s, struct tls_context *context)
{
	if (tls_accept(context, &s->channel) < 0)
		session_close(s);
}

static void note_expiry(struct session *s)
{
	int64_t expires = tls_expires(&s->channel);

	if (expires < s->all->expires)
		s->all->expires = expires;
}

void session_link(struct session *s, struct link *link)
{
	s->link = link;
	s->all->n_links++;
	s->channel.takes_fds = 0;
}

void session_forget(struct session *s, struct edge *e)
{
	channel_retag(&s->channel, e, NULL);
}

void session_review(struct session *s, int64_t now)
{
	struct tls_fault why;

	if (tls_expires(&s->channel) <= now && tls_check_again(&s->channel, &why) < 0)
		session_refuse(s, why.name, "%s", why.text);
	else
		note_expiry(s);
}

int session_permit(struct session *s, const struct policy *policy, uint32_t uid)
{
	int may = policy_may_connect(policy, uid);

	if (!may)
		session_refuse(s, "policy.connect", "user %" PRIu32 " may not connect to this broker (policy.connect)",
			       uid);
	return may;
}

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

/*
 * A process that connected by itself is the one that the socket names. Of a child's channel that is its parent, and over
 * TCP and FIFOs nobody: then the number counts that was said.
 */
int session_pidfd(const struct session *s)
{
	struct process seen = *s->process;
	struct ucred peer;
	socklen_t n = sizeof(peer), m = sizeof(int);
	int fd = -1;

	if (s->transport != TRANSPORT_UNIX)
		return absence_pidfd(s->process);
	if (getsockopt(s->channel.in_fd, SOL_SOCKET, SO_PEERPIDFD, &fd, &m) == 0)
		return fd;
	if (getsockopt(s->channel.in_fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0 || peer.pid <= 0)
		return -ENOENT;
	seen.pid = (uint32_t)peer.pid;
	return absence_pidfd(&seen);
}

/* It was greeted. */
static void enter(struct session *s, enum session_state state)
{
	TAILQ_REMOVE(list_of(s), s, of_state);
	s->state = (uint8_t)state;
	end_greeting(s);
	note_expiry(s);
	s->channel.most = FRAME_MAX;
	TAILQ_INSERT_TAIL(list_of(s), s, of_state);
	if (s->all->leaving)
		session_say_leaving(s);
}

void session_live(struct session *s, struct process *p)
{
	s->process = p;
	enter(s, SESSION_LIVE);
}

void session_link_up(struct session *s)
{
	enter(s, SESSION_LINK);
}
