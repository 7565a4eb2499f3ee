/*
 * file: see file.h. What is modelled after the kernel because the product relies on it: a descriptor goes with the first
 * byte it was sent with, and a read ends behind that piece; closing a socket with unread bytes resets the other end, which
 * reads what it has first; an epoll set forgets a file when its last descriptor is closed, not before; a pipe without
 * writers signals its asynchronous readers.
 */
#include "file.h"
#include "memory.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#define FRAME_DATA 0x01
#define PIPE_LIMIT 65536u
#define BOOTED (1000 * SECOND)
#define EPOCH (1700000000 * SECOND)

unsigned files_open;
void (*file_sees_data)(const uint8_t *body, size_t n);
static struct file *all_open;
static unsigned next_number;

uint64_t clock_now(int clock)
{
	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
		return EPOCH + world.now + world.slept;
	case CLOCK_BOOTTIME:
		return BOOTED + world.now + world.slept;
	default:
		return BOOTED + world.now;
	}
}

/* ---- queues ------------------------------------------------------------------------------------------------------ */

static void piece_free(struct piece *p)
{
	for (unsigned i = 0; i < p->n_files; i++)
		file_unref(p->files[i]);
	host_free(p);
}

static void queue_clear(struct queue *q)
{
	while (q->first) {
		struct piece *next = q->first->next;
		piece_free(q->first);
		q->first = next;
	}
	*q = (struct queue){ .due = q->due };
}

static uint64_t some_delay(void)
{
	return world.now + (world.weather.delay_us ? world_below(world.weather.delay_us + 1u) : 0);
}

static void queue_put(struct queue *q, const struct iovec *iov, int n, size_t most, uint64_t due)
{
	struct piece *p = host_alloc(sizeof(*p) + most);
	for (int i = 0; i < n && p->length < most; i++) {
		size_t part = iov[i].iov_len < most - p->length ? iov[i].iov_len : most - p->length;
		memcpy(p->bytes + p->length, iov[i].iov_base, part);
		p->length += part;
	}
	p->due = q->due = due > q->due ? due : q->due;
	if (p->due > world.now)
		at(p->due, NULL, NULL);
	if (q->first)
		q->last->next = p;
	else
		q->first = p;
	q->last = p;
	q->bytes += p->length;
}

static int queue_is_readable(const struct queue *q)
{
	return q->first && q->first->due <= world.now;
}

/* Copy out of the first piece, whose descriptors are taken care of. */
static size_t queue_take(struct queue *q, uint8_t *to, size_t n)
{
	struct piece *p = q->first;
	size_t part = p->length - p->offset < n ? p->length - p->offset : n;
	memcpy(to, p->bytes + p->offset, part);
	p->offset += part;
	q->bytes -= part;
	if (p->offset < p->length)
		return part;
	q->first = p->next;
	piece_free(p);
	return part;
}

/* Lose what lies behind the first `keep` bytes. */
static void queue_cut(struct queue *q, size_t keep)
{
	struct piece **link = &q->first;
	q->bytes = keep;
	while (*link && keep >= (*link)->length - (*link)->offset) {
		keep -= (*link)->length - (*link)->offset;
		q->last = *link;
		link = &(*link)->next;
	}
	if (*link && keep > 0) {
		(*link)->length = (*link)->offset + keep;
		q->last = *link;
		link = &(*link)->next;
	}
	struct piece *rest = *link;
	*link = NULL;
	while (rest) {
		struct piece *next = rest->next;
		piece_free(rest);
		rest = next;
	}
}

/* ---- files and descriptors --------------------------------------------------------------------------------------- */

struct file *file_new(enum file_kind kind)
{
	struct file *f = host_alloc(sizeof(*f));
	f->kind = kind;
	f->refs = 1;
	f->inode = -1;
	f->number = ++next_number;
	f->next_open = all_open;
	all_open = f;
	files_open++;
	if (files_open == 1)
		next_number = f->number = 1; /* a new run */
	return f;
}

struct file *file_ref(struct file *f)
{
	f->refs++;
	return f;
}

static void listener_shut(struct file *f)
{
	for (unsigned i = 0; i < f->n_backlog; i++) {
		if (f->backlog[i]->peer)
			f->backlog[i]->peer->error = ECONNRESET;
		file_unref(f->backlog[i]);
	}
	f->n_backlog = 0;
	if (f->inode >= 0 && disk_listener(f->inode) == f)
		disk_set_listener(f->inode, NULL);
}

/* What the dead wrote is there when their end can be seen: on one host no byte is slower than that. */
static void show_all(struct queue *q)
{
	for (struct piece *p = q->first; p; p = p->next)
		p->due = world.now < p->due ? world.now : p->due;
	q->due = world.now;
}

static void socket_shut(struct file *f)
{
	struct file *peer = f->peer;
	int dead = current && current->dying;
	if (peer && dead)
		show_all(&peer->in);
	if (peer) {
		uint64_t due = dead ? world.now : some_delay();
		if (f->in.first)
			peer->error = ECONNRESET;
		peer->peer = NULL;
		peer->end_due = due > peer->in.due ? due : peer->in.due;
		at(peer->end_due, NULL, NULL);
	}
	f->peer = NULL;
	queue_clear(&f->in);
}

/* The last writer is gone: who reads and wanted a signal gets it. */
static void signal_readers(struct pipe_ends *pipe)
{
	struct file *f, *next;
	for (f = all_open; f; f = next) {
		next = f->next_open;
		if (f->kind != FILE_PIPE || f->pipe != pipe || f->writes || !(f->flags & O_ASYNC) || !f->async_owner)
			continue;
		int owner = f->async_owner, signo = f->async_signal;
		f->async_owner = 0;
		for (struct process *p = process_next(NULL); p; p = process_next(p))
			if (owner > 0 ? p->task->pid == owner : p->group == -owner)
				if (!p->dying)
					process_signal(p, signo);
		next = all_open; /* deaths close files: look from the beginning */
	}
}

static void pipe_shut(struct file *f)
{
	struct pipe_ends *pipe = f->pipe;
	if (!f->writes)
		pipe->readers--;
	else if (--pipe->writers == 0 && pipe->readers > 0) {
		pipe->readers++; /* so that it stays while processes die of it */
		signal_readers(pipe);
		pipe->readers--;
	}
	if (pipe->readers + pipe->writers > 0)
		return;
	queue_clear(&pipe->queue);
	host_free(pipe);
}

static void watches_drop(const struct file *gone)
{
	for (struct file *f = all_open; f; f = f->next_open) {
		struct watch **link = &f->watches;
		while (*link) {
			struct watch *w = *link;
			if (w->file != gone) {
				link = &w->next;
				continue;
			}
			*link = w->next;
			host_free(w);
		}
	}
}

static void unlist(struct file *f)
{
	struct file **link = &all_open;
	while (*link != f)
		link = &(*link)->next_open;
	*link = f->next_open;
}

void file_unref(struct file *f)
{
	if (--f->refs > 0)
		return;
	unlist(f);
	files_open--;
	watches_drop(f);
	if (f->kind == FILE_SOCKET)
		socket_shut(f);
	if (f->kind == FILE_LISTENER)
		listener_shut(f);
	if (f->kind == FILE_PIPE)
		pipe_shut(f);
	if (f->kind == FILE_DISK)
		disk_unlock(f);
	if (f->task)
		task_unref(f->task);
	while (f->watches) {
		struct watch *next = f->watches->next;
		host_free(f->watches);
		f->watches = next;
	}
	host_free(f);
}

int file_install(struct file *f, int lowest, int close_on_exec)
{
	for (int fd = lowest; fd < (int)current->fds_limit; fd++) {
		if (current->fds[fd].file)
			continue;
		current->fds[fd] = (struct descriptor){ f, close_on_exec };
		return fd;
	}
	file_unref(f);
	errno = EMFILE;
	return -1;
}

struct file *file_of(int fd)
{
	struct file *f = fd >= 0 && fd < FDS_MOST ? current->fds[fd].file : NULL;
	if (!f)
		errno = EBADF;
	return f;
}

int file_close(int fd)
{
	struct file *f = file_of(fd);
	if (!f)
		return -1;
	current->fds[fd].file = NULL;
	file_unref(f);
	return 0;
}

/* ---- readiness --------------------------------------------------------------------------------------------------- */

static uint32_t socket_events(const struct file *f)
{
	uint32_t events = queue_is_readable(&f->in) ? EPOLLIN : 0;
	if (!f->peer && f->end_due <= world.now)
		return events | EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP | (f->error ? (uint32_t)EPOLLERR : 0);
	return events | (!f->peer || f->peer->in.bytes * 2 <= f->peer->limit ? EPOLLOUT : 0);
}

static uint32_t pipe_events(const struct file *f)
{
	const struct pipe_ends *p = f->pipe;
	if (f->writes)
		return (p->queue.bytes < PIPE_LIMIT / 2 ? EPOLLOUT : 0) | (p->readers ? 0 : (uint32_t)EPOLLERR);
	return (queue_is_readable(&p->queue) ? EPOLLIN : 0) | (p->writers ? 0 : (uint32_t)EPOLLHUP);
}

static uint32_t epoll_events(const struct file *f)
{
	for (const struct watch *w = f->watches; w; w = w->next)
		if (file_events(w->file) & (w->events | EPOLLERR | EPOLLHUP))
			return EPOLLIN;
	return 0;
}

uint32_t file_events(struct file *f)
{
	switch (f->kind) {
	case FILE_SOCKET:
		return socket_events(f);
	case FILE_LISTENER:
		return f->n_backlog ? EPOLLIN : 0;
	case FILE_PIPE:
		return pipe_events(f);
	case FILE_COUNTER:
		return EPOLLOUT | (f->count ? EPOLLIN : 0);
	case FILE_TIMER:
		return f->due && f->due <= clock_now(f->clock) ? EPOLLIN : 0;
	case FILE_TASK:
		return f->task->ended ? EPOLLIN : 0;
	case FILE_EPOLL:
		return epoll_events(f);
	default:
		return EPOLLIN | EPOLLOUT;
	}
}

/* ---- sockets ----------------------------------------------------------------------------------------------------- */

void socket_pair(struct file *ends[2])
{
	ends[0] = file_new(FILE_SOCKET);
	ends[1] = file_new(FILE_SOCKET);
	for (int i = 0; i < 2; i++) {
		ends[i]->peer = ends[1 - i];
		ends[i]->limit = world.weather.buffer;
		ends[i]->owner_pid = process_number();
	}
}

struct file *socket_next(struct file *f)
{
	for (f = f ? f->next_open : all_open; f; f = f->next_open)
		if (f->kind == FILE_SOCKET && f->can_be_cut && f->peer)
			return f;
	return NULL;
}

void socket_cut(struct file *f, int reset)
{
	struct file *ends[2] = { f, f->peer };
	trace("cut", f->number, f->peer->number, (uint64_t)reset);
	for (int i = 0; i < 2; i++) {
		struct file *end = ends[i];
		queue_cut(&end->in, end->in.bytes ? world_below(end->in.bytes + 1) : 0);
		end->peer = NULL;
		end->error = reset ? ECONNRESET : 0;
		end->end_due = some_delay();
		if (end->end_due < end->in.due)
			end->end_due = end->in.due;
		at(end->end_due, NULL, NULL);
	}
}

/* Descriptors become the reader's, at most as many as his control buffer and his limit take. Bytes of control written. */
static size_t receive_files(struct piece *p, struct msghdr *msg)
{
	int fds[16];
	unsigned n = 0;
	int lost = world_one_in(world.weather.lost_fds_one_in);
	size_t room = msg && msg->msg_control ? msg->msg_controllen : 0;
	for (unsigned i = 0; i < p->n_files; i++) {
		if (lost || CMSG_SPACE((n + 1) * sizeof(int)) > room + 8) {
			file_unref(p->files[i]);
			lost = 1;
			continue;
		}
		int fd = file_install(p->files[i], 0, 1);
		if (fd < 0)
			lost = 1;
		else
			fds[n++] = fd;
	}
	p->n_files = 0;
	if (msg && lost)
		msg->msg_flags |= MSG_CTRUNC;
	if (n == 0)
		return 0;
	struct cmsghdr *head = CMSG_FIRSTHDR(msg);
	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(head), fds, n * sizeof(int));
	return head->cmsg_len;
}

struct spot { /* where in an iovec we are */
	const struct iovec *iov;
	int n;
	size_t at;
};

static uint8_t *spot_room(struct spot *s, size_t *room)
{
	while (s->n > 0 && s->at == s->iov->iov_len) {
		s->iov++;
		s->n--;
		s->at = 0;
	}
	*room = s->n > 0 ? s->iov->iov_len - s->at : 0;
	return s->n > 0 ? (uint8_t *)s->iov->iov_base + s->at : NULL;
}

static size_t total(const struct iovec *iov, int n)
{
	size_t sum = 0;
	while (n-- > 0)
		sum += iov[n].iov_len;
	return sum;
}

static size_t shorten(size_t n)
{
	return n > 1 && world_one_in(world.weather.short_one_in) ? 1 + world_below(n - 1) : n;
}

static ssize_t queue_read(struct queue *q, const struct iovec *iov, int n, struct msghdr *msg)
{
	struct spot spot = { iov, n, 0 };
	size_t most = shorten(total(iov, n)), got = 0, control = 0;
	while (got < most && queue_is_readable(q)) {
		int had_files = q->first->n_files > 0;
		size_t room;
		uint8_t *to = spot_room(&spot, &room);
		if (had_files)
			control = receive_files(q->first, msg);
		size_t part = queue_take(q, to, room < most - got ? room : most - got);
		spot.at += part;
		got += part;
		if (had_files)
			break;
	}
	if (msg)
		msg->msg_controllen = control;
	return (ssize_t)got;
}

static int fail(int code)
{
	errno = code;
	return -1;
}

static ssize_t socket_read(struct file *f, const struct iovec *iov, int n, struct msghdr *msg)
{
	if (queue_is_readable(&f->in)) {
		ssize_t got = queue_read(&f->in, iov, n, msg);
		trace("read", f->number, (uint64_t)got, f->in.bytes);
		if (!f->in.bytes && f->peer)
			f->can_be_cut = f->peer->can_be_cut = 1; /* not before a child has read its BIRTH */
		return got;
	}
	if (msg)
		msg->msg_controllen = 0;
	if (f->peer || f->end_due > world.now)
		return fail(EAGAIN);
	if (f->error) {
		int error = f->error;
		f->error = 0;
		return fail(error);
	}
	trace("read.end", f->number, 0, 0);
	return 0;
}

static const char *kind_name(unsigned kind)
{
	static const char *const names[256] = {
		[0x01] = "DATA",    [0x02] = "ACK",      [0x03] = "RESET",      [0x04] = "PROBE",  [0x10] = "HELLO",
		[0x11] = "ADOPT",   [0x12] = "REGISTER", [0x13] = "UNREGISTER", [0x14] = "WATCH",  [0x15] = "DIED",
		[0x16] = "GOODBYE", [0x20] = "HELLO_OK", [0x22] = "HOLD",       [0x23] = "GO",     [0x24] = "GONE",
		[0x25] = "END",     [0x26] = "NAME",     [0x27] = "REGISTERED", [0x28] = "JOINED", [0x30] = "BIRTH",
		[0x40] = "LINK",    [0x41] = "ABOUT",    [0x42] = "ASK",        [0x43] = "BEAT",
	};
	return names[kind & 255] ? names[kind & 255] : "?";
}

/* What can be read of a control body, as far as it is there. */
static void trace_body(unsigned kind, const uint8_t *bytes, size_t n)
{
	char text[3 * 40 + 1];
	size_t used = 0;
	if (kind < 0x10 || !world.tracing)
		return;
	for (size_t i = 0; i < n && i < 40; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used,
					 bytes[i] >= 32 && bytes[i] < 127 ? "%c" : " %02x", bytes[i]);
	printf("%42s%s\n", "", text);
}

/* A line of the trace for each frame that a socket sends. */
static void decode(struct file *f, const uint8_t *bytes, size_t n)
{
	struct decoder *d = &f->decoder;
	while (n > 0) {
		size_t part = d->skip < n ? d->skip : n;
		d->skip -= part;
		bytes += part;
		n -= part;
		part = sizeof(d->head) - d->have < n ? sizeof(d->head) - d->have : n;
		memcpy(d->head + d->have, bytes, part);
		d->have += part;
		bytes += part;
		n -= part;
		if (d->have < sizeof(d->head))
			return;
		uint32_t length;
		uint64_t source, destination, sequence, acknowledge;
		memcpy(&length, d->head + 4, 4);
		memcpy(&source, d->head + 8, 8);
		memcpy(&destination, d->head + 16, 8);
		memcpy(&sequence, d->head + 32, 8);
		memcpy(&acknowledge, d->head + 40, 8);
		trace(kind_name(d->head[1]), d->head[2], source, destination);
		trace("- frame", length, sequence, acknowledge);
		trace_body(d->head[1], bytes, n < length ? n : length);
		if (d->head[1] == FRAME_DATA && source == 0 && n >= length && file_sees_data)
			file_sees_data(bytes, length);
		d->have = 0;
		d->skip = (length + 7u) & ~7u;
	}
}

static ssize_t socket_write(struct file *f, const struct iovec *iov, int n, struct file **files, unsigned n_files)
{
	size_t most = total(iov, n);
	if (world_one_in(world.weather.enobufs_one_in))
		return fail(ENOBUFS);
	if (!f->peer && f->end_due > world.now)
		return (ssize_t)most; /* it does not know yet: these bytes are lost */
	if (!f->peer) {
		int error = f->error;
		f->error = 0;
		return fail(error ? error : EPIPE);
	}
	size_t free_bytes = f->peer->limit > f->peer->in.bytes ? f->peer->limit - f->peer->in.bytes : 0;
	if (free_bytes == 0)
		return fail(EAGAIN);
	most = shorten(most < free_bytes ? most : free_bytes);
	queue_put(&f->peer->in, iov, n, most, some_delay());
	for (unsigned i = 0; i < n_files; i++)
		f->peer->in.last->files[i] = file_ref(files[i]);
	f->peer->in.last->n_files = n_files;
	trace("write", f->number, most, f->peer->in.bytes);
	decode(f, f->peer->in.last->bytes, most);
	return (ssize_t)most;
}

/* ---- the others -------------------------------------------------------------------------------------------------- */

struct file *pipe_end(struct pipe_ends *pipe, int writes)
{
	struct file *f = file_new(FILE_PIPE);
	f->pipe = pipe;
	f->writes = writes;
	*(writes ? &pipe->writers : &pipe->readers) += 1;
	return f;
}

static ssize_t pipe_read(struct file *f, const struct iovec *iov, int n)
{
	if (queue_is_readable(&f->pipe->queue))
		return queue_read(&f->pipe->queue, iov, n, NULL);
	return f->pipe->writers ? fail(EAGAIN) : 0;
}

static ssize_t pipe_write(struct file *f, const struct iovec *iov, int n)
{
	size_t most = total(iov, n), room = PIPE_LIMIT - f->pipe->queue.bytes;
	if (!f->pipe->readers)
		return fail(EPIPE);
	if (room == 0 || (most <= 4096 && most > room))
		return fail(EAGAIN);
	most = most < room ? most : room;
	queue_put(&f->pipe->queue, iov, n, most, world.now);
	return (ssize_t)most;
}

static ssize_t counter_read(struct file *f, const struct iovec *iov)
{
	uint64_t count = f->count;
	if (count == 0)
		return fail(EAGAIN);
	f->count = 0;
	memcpy(iov->iov_base, &count, sizeof(count));
	return sizeof(count);
}

static ssize_t timer_read(struct file *f, const struct iovec *iov)
{
	uint64_t now = clock_now(f->clock), count = 1;
	if (!f->due || f->due > now)
		return fail(EAGAIN);
	if (f->interval) {
		count += (now - f->due) / f->interval;
		f->due += count * f->interval;
		at(world.now + (f->due - now), NULL, NULL);
	} else {
		f->due = 0;
	}
	memcpy(iov->iov_base, &count, sizeof(count));
	return sizeof(count);
}

ssize_t file_read(struct file *f, const struct iovec *iov, int n, struct msghdr *msg)
{
	ssize_t got;
	switch (f->kind) {
	case FILE_SOCKET:
		return socket_read(f, iov, n, msg);
	case FILE_PIPE:
		return pipe_read(f, iov, n);
	case FILE_COUNTER:
		return counter_read(f, iov);
	case FILE_TIMER:
		return timer_read(f, iov);
	case FILE_DISK:
		got = disk_read(f->inode, f->position, iov->iov_base, iov->iov_len);
		f->position += got > 0 ? (size_t)got : 0;
		return got;
	case FILE_NULL:
		return 0;
	default:
		return fail(EINVAL);
	}
}

static ssize_t sink_write(const struct iovec *iov, int n)
{
	char line[512];
	size_t length = 0;
	for (int i = 0; i < n; i++) {
		size_t part = iov[i].iov_len < sizeof(line) - 1 - length ? iov[i].iov_len : sizeof(line) - 1 - length;
		memcpy(line + length, iov[i].iov_base, part);
		length += part;
	}
	line[length] = '\0';
	line[strcspn(line, "\n")] = '\0';
	trace_text("says", line);
	return (ssize_t)total(iov, n);
}

ssize_t file_write(struct file *f, const struct iovec *iov, int n, struct file **files, unsigned n_files)
{
	uint64_t more;
	ssize_t done;
	switch (f->kind) {
	case FILE_SOCKET:
		return socket_write(f, iov, n, files, n_files);
	case FILE_PIPE:
		return pipe_write(f, iov, n);
	case FILE_COUNTER:
		memcpy(&more, iov->iov_base, sizeof(more));
		f->count += more;
		return sizeof(more);
	case FILE_DISK:
		done = disk_write(f->inode, f->position, iov->iov_base, iov->iov_len);
		f->position += done > 0 ? (size_t)done : 0;
		return done;
	case FILE_SINK:
		return sink_write(iov, n);
	case FILE_NULL:
		return (ssize_t)total(iov, n);
	default:
		return fail(EINVAL);
	}
}
