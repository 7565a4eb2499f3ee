/*
 * birth: see birth.h. The ends of the channel exist before the process does, because the child reads BIRTH from its end,
 * and is told apart from a stranger with the same descriptor number by the end's inode.
 */
#include "birth.h"
#include "address.h"
#include "brood.pb-c.h"
#include "dial.h"
#include "link.h"
#include "pump.h"
#include "remote.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the channel ------------------------------------------------------------------------------------------------- */

static void ends_close(struct birth *s)
{
	if (s->mine >= 0)
		close(s->mine);
	if (s->its >= 0)
		close(s->its);
	s->mine = s->its = -1;
}

/* Over others no descriptor can be given to the broker. */
static int over_unix(const struct brood *h)
{
	return h->dialer.address_kind == ADDRESS_UNIX;
}

/* Mine is what the broker gets (or, where it cannot, only what BIRTH goes through). */
static int ends_open(const struct brood *h, struct birth *s)
{
	int fds[2];
	int rc = over_unix(h) ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) : pipe2(fds, O_CLOEXEC);
	if (rc < 0)
		return -errno;
	s->its = fds[0];
	s->mine = fds[1];
	if (over_unix(h)) {
		dial_tune(fds[0], ADDRESS_UNIX);
		dial_tune(fds[1], ADDRESS_UNIX);
	}
	return 0;
}

/* The first frame in the channel: who the child is. */
static int write_birth(struct child *c, int fd)
{
	struct brood *h = c->peer->h;
	uint8_t ticket[TICKET_SIZE];
	_Alignas(8) uint8_t frame[FRAME_HEAD + 512] = { 0 };
	Brood__Birth birth = BROOD__BIRTH__INIT;
	if (c->kept)
		memcpy(ticket, c->kept->ticket, sizeof(ticket));
	birth.id = c->kept ? c->kept->id : link_take_id(h, h->link.id, ticket);
	birth.parent = c->kept ? c->kept->parent : h->link.id;
	birth.node = h->link.node;
	birth.address = h->dialer.address;
	birth.ticket = (ProtobufCBinaryData){ TICKET_SIZE, ticket };
	birth.name = (char *)(uintptr_t)(c->plan->name ? c->plan->name : "");
	size_t length = protobuf_c_message_pack(&birth.base, frame + FRAME_HEAD);
	frame_write_head(frame, &(struct frame){ .kind = FRAME_BIRTH, .length = (uint32_t)length });
	int rc = c->kept ? 0 : remote_resolve(c->peer->remote, birth.id);
	if (rc < 0)
		return rc;
	return write(fd, frame, frame_size(length)) == (ssize_t)frame_size(length) ? 0 : -errno;
}

uint64_t birth_id(const struct child *c)
{
	return c->kept ? c->kept->id : c->peer->remote->id;
}

/* fd: the broker's end of its channel, then the link's; -1: the child will come by itself. */
static void say_adopt(struct child *c, int fd)
{
	struct brood *h = c->peer->h;
	Brood__Adopt m = BROOD__ADOPT__INIT;
	m.id = birth_id(c);
	m.parent = c->kept ? c->kept->parent : 0;
	/* A child that comes by itself shows a ticket made from my user's key: for the broker it is mine. */
	m.uid = (uint32_t)(c->plan->ids && fd >= 0 ? c->plan->ids->uid : getuid());
	m.pid = (uint32_t)c->peer->pid;
	m.title = (char *)(uintptr_t)plan_title(c->plan);
	m.name = (char *)(uintptr_t)(c->plan->name ? c->plan->name : "");
	pump_control(h, FRAME_ADOPT, &m.base, fd);
}

static void adopt(struct child *c, struct birth *s)
{
	int fd = over_unix(c->peer->h) ? s->mine : -1;
	say_adopt(c, fd);
	if (fd >= 0)
		s->mine = -1; /* the link's now */
}

void birth_say_again(struct child *c)
{
	say_adopt(c, -1);
}

static int open_channel(struct child *c, struct birth *s)
{
	struct stat st;
	int rc = ends_open(c->peer->h, s);
	if (rc < 0 || (rc = write_birth(c, s->mine)) < 0)
		return rc;
	if (fstat(s->its, &st) < 0)
		return -errno;
	plan_set_channel(c->plan, st.st_ino);
	return 0;
}

/* ---- the process ------------------------------------------------------------------------------------------------- */

static struct spawn_plan spawn_plan(const struct child *c, const struct spawn_fd *fds, size_t n)
{
	const struct plan *p = c->plan;
	int detached = (p->flags & BROOD_DETACHED) != 0, session = detached || c->stdio.terminal >= 0;
	return (struct spawn_plan){ .file = p->file,
				    .argv = p->argv,
				    .env = p->env,
				    .cwd = p->cwd,
				    .fds = fds,
				    .n_fds = n,
				    .own_session = session,
				    .own_group = !session && c->own_group,
				    .has_terminal = c->stdio.terminal >= 0,
				    .terminal = c->stdio.terminal,
				    .limits = p->limits,
				    .ids = p->ids,
				    .line = detached ? NULL : &c->peer->h->line };
}

static int exec_with(struct child *c, const struct birth *b, struct spawn_fd *fds, struct spawn_failure *why)
{
	size_t n = c->plan->n_fds;
	struct spawned born;
	if (c->channel)
		fds[n++] = (struct spawn_fd){ c->plan->channel_fd, b->its };
	struct spawn_plan plan = spawn_plan(c, fds, n);
	int rc = spawn_start(&plan, &born, why);
	if (rc < 0)
		return rc;
	c->peer->pid = born.pid;
	c->pidfd.fd = born.pidfd;
	c->line_fd = born.line_fd;
	return 0;
}

static int exec_child(struct child *c, const struct birth *b, struct spawn_failure *why)
{
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct spawn_fd *fds = calloc(c->plan->n_fds + 1, sizeof(*fds));
	int rc = null_fd < 0 ? -errno : !fds ? -ENOMEM : 0;
	*why = (struct spawn_failure){ "stdio", rc };
	if (rc == 0) {
		stdio_show(&c->stdio, null_fd, fds);
		rc = exec_with(c, b, fds, why);
	}
	if (null_fd >= 0)
		close(null_fd);
	free(fds);
	return rc;
}

/* It would not get to the broker: the directory with the FIFOs is mine alone. */
static int check_user(const struct child *c)
{
	const struct brood_ids *ids = c->plan->ids;
	int locked_out = c->channel && ids && ids->uid != geteuid() && ids->uid != 0;
	return locked_out && c->peer->h->dialer.address_kind == ADDRESS_FIFO ? -EXDEV : 0;
}

int birth_start(struct child *c, struct birth *b, struct spawn_failure *why)
{
	struct brood *h = c->peer->h;
	int rc = c->stdio.error;
	*b = (struct birth){ -1, -1 };
	if (rc == 0 && h->line.write_fd < 0)
		rc = life_line_init(&h->line);
	if (rc == 0 && c->channel)
		rc = open_channel(c, b);
	if (rc < 0)
		*why = (struct spawn_failure){ "stdio", rc };
	else if ((rc = check_user(c)) < 0)
		*why = (struct spawn_failure){ "ids", rc };
	else
		rc = exec_child(c, b, why);
	stdio_given(&c->stdio);
	if (rc < 0)
		ends_close(b);
	return rc;
}

void birth_finish(struct child *c, struct birth *b)
{
	if (c->channel)
		adopt(c, b);
	ends_close(b);
}
