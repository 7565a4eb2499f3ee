/*
 * papers: see papers.h.
 */
#include "papers.h"
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static char directory[64];
static pid_t maker;
static const struct tls_api *tls;

const struct tls_api *papers_api(void)
{
	return tls;
}

const char *papers_directory(void)
{
	return directory;
}

const char *papers_path(const char *name)
{
	static char paths[16][160];
	static unsigned next;
	char *to = paths[next++ % 16];
	snprintf(to, sizeof paths[0], "%s/%s", directory, name);
	return to;
}

const char *papers_client(const char *suffix)
{
	char name[64];
	snprintf(name, sizeof name, "client-%u%s", (unsigned)geteuid(), suffix);
	return papers_path(name);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static void remove_all(void)
{
	if (getpid() == maker) /* not a forked copy that calls exit() */
		nftw(directory, remove_one, 4, FTW_DEPTH | FTW_PHYS);
}

static int make(struct tls_fault *why)
{
	char base[PATH_MAX], uid[16];
	snprintf(uid, sizeof uid, "%u", (unsigned)geteuid());
	struct certify_order server = { CERTIFY_SERVER, directory, "localhost,127.0.0.1", 2 };
	struct certify_order client = { CERTIFY_CLIENT, directory, uid, 2 };
	if (tls->make_ca(directory, 2, why) < 0 || tls->certify(&server, base, why) < 0)
		return -1;
	return tls->certify(&client, base, why);
}

int papers_make(void)
{
	struct tls_fault why;
	if (maker)
		return 0;
	strcpy(directory, "/tmp/brood-papers-XXXXXX");
	if (!mkdtemp(directory) || chmod(directory, 0711) < 0) /* a child may be another user */
		return -1;
	maker = getpid();
	atexit(remove_all);
	tls = tls_load(&why);
	if (tls && make(&why) == 0)
		return 0;
	fprintf(stderr, "papers: %s: %s\n", why.name, why.text);
	return -1;
}

void papers_arguments(const char **to)
{
	const char *const flags[] = {
		"--tls-cert", papers_path("server-localhost.crt"),
		"--tls-key",  papers_path("server-localhost.key"),
		"--tls-ca",   papers_path("ca.crt"),
		"--tls-crl",  papers_path("ca.crl"),
		NULL,
	};
	memcpy(to, flags, sizeof flags);
}

void papers_show(void)
{
	setenv("BROOD_TLS_CA", papers_path("ca.crt"), 1);
	setenv("BROOD_TLS_CERT", papers_client(".crt"), 1);
	setenv("BROOD_TLS_KEY", papers_client(".key"), 1);
	unsetenv("BROOD_TLS_CRL");
}
