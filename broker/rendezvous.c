/*
 * rendezvous: reads hellos, and opens the pairs that they name.
 *
 * The surprising rule: this process has a writer of its own FIFO open, which it must not have of any pair. Without one,
 * the FIFO would be at its end whenever no client has it open, and the loop would spin. It hides nothing, because this is
 * no session: whose death could be seen here is ours alone, and clients see that by our being the only reader.
 *
 * Nothing here waits, whatever lies under a name: every open() is O_NONBLOCK. A name is a file in the held directory, not
 * a link, and a FIFO of this user; else the hello is refused, and nobody else notices. A client that died meanwhile is
 * one that nobody would hear: its `down` cannot be opened.
 *
 * Pairs are unlinked when they are open. Of clients that died before, a hello removes the pair; of those that died before
 * they said it, the next look at the directory does, or the end, or the next broker's start. Each start makes a new FIFO: an old one might
 * have hellos in it.
 */
#include "rendezvous.h"
#include "door.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define KNOCK_TEMPORARY ".fifo"
#define STALE_S 10        /* twice as long as a client waits */
#define SWEEP_MOST 10000u /* files looked at in one go */
#define HELPING 4096u     /* bytes of hellos in one turn */

/*
 * Pairs.
 */

static int is_our_fifo(const struct stat *st)
{
	return S_ISFIFO(st->st_mode) && st->st_uid == geteuid();
}

static void remove_end(const struct rendezvous *r, const char *name, const char *suffix)
{
	char path[KNOCK_PATH];
	struct stat st;

	knock_path(name, suffix, path);
	if (fstatat(r->home->fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_our_fifo(&st))
		unlinkat(r->home->fd, path, 0);
}

static int open_end(const struct rendezvous *r, const char *name, const char *suffix, int flags)
{
	char path[KNOCK_PATH];
	struct stat st;
	int fd = openat(r->home->fd, knock_path(name, suffix, path),
			flags | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && is_our_fifo(&st))
		return fd;
	close(fd);
	return -EPERM;
}

/* Tell it, by means of the reserve. */
static void turn_away(struct rendezvous *r, const char *name)
{
	int fd;

	close(r->reserve);
	fd = open_end(r, name, KNOCK_DOWN, O_WRONLY);
	if (fd >= 0) {
		door_say_full(fd);
		close(fd);
	}
	r->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static int open_pair(const struct rendezvous *r, const char *name, int *in_fd, int *out_fd)
{
	*out_fd = open_end(r, name, KNOCK_DOWN, O_WRONLY);
	if (*out_fd < 0)
		return *out_fd;
	*in_fd = open_end(r, name, KNOCK_UP, O_RDONLY);
	if (*in_fd >= 0)
		return 0;
	close(*out_fd);
	return *in_fd;
}

static const char *why_not(int error)
{
	if (error == -EPERM || error == -ELOOP)
		return "not a FIFO of this user";
	return error == -ENXIO ? "its client is gone" : strerror(-error);
}

static void refuse(const struct rendezvous *r, const char *name, const char *text)
{
	log_say(r->log, LOG_FIFO_REFUSED, FIELD_TEXT("pair", name), FIELD_TEXT("text", text));
}

static void answer(struct rendezvous *r, const char *name)
{
	int in_fd, out_fd, error = open_pair(r, name, &in_fd, &out_fd);

	if (error == -EMFILE || error == -ENFILE)
		turn_away(r, name);
	remove_end(r, name, KNOCK_UP);
	remove_end(r, name, KNOCK_DOWN);
	if (error == 0)
		r->taken(r->data, in_fd, out_fd);
	else
		refuse(r, name, why_not(error));
}

/* At most one helping; 1 if there was a hello in it. */
static int take_hellos(struct rendezvous *r)
{
	char bytes[HELPING], name[KNOCK_NAME];
	const char *at = bytes;
	ssize_t got = read(r->fd, bytes, sizeof(bytes));
	int one, any = 0;

	if (got <= 0)
		return 0;
	while ((one = knock_next(&r->reader, &at, bytes + got, name)) != 0) {
		if (one == 1)
			answer(r, name);
		else
			refuse(r, "", "a line is not a hello");
		any |= one == 1;
	}
	return any;
}

static void on_readable(evutil_socket_t fd, short what, void *data)
{
	(void)fd;
	(void)what;
	(void)take_hellos(data);
}

/*
 * What is left behind.
 */

static void sweep_file(const struct rendezvous *r, const char *file, time_t before)
{
	struct stat st;

	if (knock_is_pair(file) && fstatat(r->home->fd, file, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_our_fifo(&st) &&
	    st.st_ctime < before)
		unlinkat(r->home->fd, file, 0);
}

static void sweep(const struct rendezvous *r, time_t before)
{
	int fd = openat(r->home->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *files = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *file;

	if (!files) {
		if (fd >= 0)
			close(fd);
		return;
	}
	for (unsigned i = 0; i < SWEEP_MOST && (file = readdir(files)); i++)
		sweep_file(r, file->d_name, before);
	closedir(files);
}

static int file_is_ours(const struct rendezvous *r)
{
	struct stat st;

	return fstatat(r->home->fd, KNOCK_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == r->inode;
}

int rendezvous_check(struct rendezvous *r)
{
	if (!r->base)
		return 1;
	sweep(r, time(NULL) - r->stale_s);
	return file_is_ours(r);
}

/*
 * Life.
 */

/* Under another name until both ends are open, so that whoever finds it finds a reader. */
static int publish(struct rendezvous *r)
{
	int directory = r->home->fd;
	struct stat st;

	unlinkat(directory, KNOCK_TEMPORARY, 0);
	if (mkfifoat(directory, KNOCK_TEMPORARY, 0600) < 0)
		return -errno;
	r->fd = openat(directory, KNOCK_TEMPORARY, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (r->fd < 0)
		return -errno;
	r->keep = openat(directory, KNOCK_TEMPORARY, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (r->keep < 0 || fstat(r->fd, &st) < 0 || renameat(directory, KNOCK_TEMPORARY, directory, KNOCK_FILE) < 0)
		return -errno;
	r->inode = st.st_ino;
	return 0;
}

static int begin(struct rendezvous *r)
{
	int error;

	r->fd = r->keep = -1;
	r->reader.n = 0;
	error = publish(r);
	if (error < 0) {
		unlinkat(r->home->fd, KNOCK_TEMPORARY, 0);
		return error;
	}
	event_assign(&r->readable, r->base, r->fd, EV_READ | EV_PERSIST, on_readable, r);
	return event_add(&r->readable, NULL) < 0 ? -ENOMEM : 0;
}

static void end(struct rendezvous *r)
{
	if (event_initialized(&r->readable))
		event_del(&r->readable);
	if (file_is_ours(r))
		unlinkat(r->home->fd, KNOCK_FILE, 0);
	if (r->fd >= 0)
		close(r->fd);
	if (r->keep >= 0)
		close(r->keep);
	r->fd = r->keep = -1;
}

int rendezvous_open(struct rendezvous *r, struct event_base *base, struct log *log, const struct home *home,
		    rendezvous_taken_fn *taken, void *data, char *why, size_t n)
{
	int error;

	*r = (struct rendezvous){ .base = base, .log = log, .home = home, .taken = taken, .data = data };
	r->stale_s = STALE_S;
	r->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
	sweep(r, time(NULL) + 1);
	error = r->reserve < 0 ? -errno : begin(r);
	if (error == 0)
		return 0;
	snprintf(why, n, "FIFO %s/" KNOCK_FILE ": %s; choose another directory with --dir", home->path,
		 strerror(-error));
	return error;
}

void rendezvous_close(struct rendezvous *r)
{
	if (!r->base)
		return;
	end(r);
	sweep(r, time(NULL) + 1); /* nobody will be answered any more */
	if (r->reserve >= 0)
		close(r->reserve);
	memset(r, 0, sizeof(*r));
}

int rendezvous_return(struct rendezvous *r)
{
	if (!r->base)
		return 0;
	end(r);
	return begin(r);
}

int rendezvous_leave(struct rendezvous *r)
{
	int error;

	if (!r->base)
		return 1;
	if (file_is_ours(r))
		unlinkat(r->home->fd, KNOCK_FILE, 0);
	if (!take_hellos(r))
		return 1;
	error = rendezvous_return(r);
	return error < 0 ? error : 0;
}
