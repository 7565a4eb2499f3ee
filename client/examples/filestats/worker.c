/*
 * worker: a brood child with one handler. It reads the file that a request names, and its return value is the whole
 * error handling: a reply, or an error that the parent gets as the answer.
 */
#include "worker.h"
#include "filestats.pb-c.h"
#include "tally.h"
#include <brood/pb.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <unistd.h>

#define PIECE (64u * 1024u)

struct worker {
	EVP_MD_CTX *hash;
	unsigned char piece[PIECE];
};

/* Count and hash to the end of the file. 0 or negative errno. */
static int read_all(struct worker *w, int fd, struct tally *t)
{
	ssize_t n;
	while ((n = read(fd, w->piece, sizeof w->piece)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		tally_add(t, w->piece, (size_t)n);
		if (!EVP_DigestUpdate(w->hash, w->piece, (size_t)n))
			return -EIO;
	}
	return 0;
}

static int look_into(struct worker *w, const char *path, struct tally *t, unsigned char *hash, unsigned *hash_length)
{
	tally_init(t);
	if (!EVP_DigestInit_ex(w->hash, EVP_sha256(), NULL))
		return -EIO;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	int rc = read_all(w, fd, t);
	close(fd);
	return rc == 0 && !EVP_DigestFinal_ex(w->hash, hash, hash_length) ? -EIO : rc;
}

static int answer(const brood_event *ev, const struct tally *t, unsigned char *hash, unsigned hash_length)
{
	Filestats__Stats stats = FILESTATS__STATS__INIT;
	stats.lines = t->lines;
	stats.words = t->words;
	stats.bytes = t->bytes;
	stats.opens = t->opens;
	stats.closes = t->closes;
	stats.unbroken = t->unbroken;
	stats.sha256.data = hash;
	stats.sha256.len = hash_length;
	return brood_reply_pb(ev->msg, &stats.base);
}

static int work(const brood_event *ev)
{
	const Filestats__File *file = brood_msg_pb(ev->msg, &filestats__file__descriptor);
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned hash_length = 0;
	char path[4096];
	struct tally t;
	if (!file)
		return -errno;
	if (file->path.len >= sizeof path)
		return brood_reply_error(ev->msg, -ENAMETOOLONG, strerror(ENAMETOOLONG));
	memcpy(path, file->path.data, file->path.len);
	path[file->path.len] = '\0';
	int rc = look_into(ev->data, path, &t, hash, &hash_length);
	if (rc < 0)
		return brood_reply_error(ev->msg, rc, strerror(-rc));
	return answer(ev, &t, hash, hash_length);
}

int worker_main(void)
{
	static struct worker w;
	brood *b;
	w.hash = EVP_MD_CTX_new();
	int rc = w.hash ? brood_connect(&b, NULL, BROOD_OPTIONS(.on = BROOD_ON(.message = work), .data = &w)) : -ENOMEM;
	if (rc == 0) {
		rc = brood_run(b);
		brood_close(b);
	}
	EVP_MD_CTX_free(w.hash);
	return rc < 0;
}
