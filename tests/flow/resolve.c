/*
 * resolve: tls:// with the name of a host. The resolver is this program's own: it answers when the test says so, and knows
 * one host.
 */
#include "flow.h"
#include "papers.h"
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOST "broker.example"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int answering, asked, answered; /* under the lock */

static void set_answering(int value)
{
	pthread_mutex_lock(&lock);
	answering = value;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void forget(void)
{
	pthread_mutex_lock(&lock);
	answering = asked = answered = 0;
	pthread_mutex_unlock(&lock);
}

static int value_of(const int *counter)
{
	pthread_mutex_lock(&lock);
	int value = *counter;
	pthread_mutex_unlock(&lock);
	return value;
}

/* As the resolver gives it: one piece, which freeaddrinfo() takes. */
static struct addrinfo *loopback(const char *port)
{
	struct {
		struct addrinfo info;
		struct sockaddr_in in;
	} *all = calloc(1, sizeof *all);
	assert_non_null(all);
	all->in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	all->in.sin_port = htons((uint16_t)atoi(port));
	all->info.ai_family = AF_INET;
	all->info.ai_addr = (struct sockaddr *)&all->in;
	all->info.ai_addrlen = sizeof all->in;
	return &all->info;
}

__attribute__((visibility("default"))) int getaddrinfo(const char *node, const char *service,
						       const struct addrinfo *hints, struct addrinfo **ret)
{
	(void)hints;
	pthread_mutex_lock(&lock);
	asked++;
	while (!answering)
		pthread_cond_wait(&changed, &lock);
	answered++;
	pthread_mutex_unlock(&lock);
	if (strcmp(node, HOST) != 0)
		return EAI_NONAME;
	*ret = loopback(service);
	return 0;
}

__attribute__((visibility("default"))) void freeaddrinfo(struct addrinfo *info)
{
	free(info);
}

static int on_host(void **state)
{
	static char certificate[160], key[160];
	struct certify_order order = { CERTIFY_SERVER, NULL, HOST, 1 };
	struct tls_fault why;
	char base[PATH_MAX];
	forget();
	if (on_tls(state) < 0)
		return -1;
	struct fixture *x = *state;
	order.directory = papers_directory();
	if (access(papers_path("server-" HOST ".crt"), F_OK) != 0 && papers_api()->certify(&order, base, &why) < 0)
		return -1;
	snprintf(certificate, sizeof certificate, "%s", papers_path("server-" HOST ".crt"));
	snprintf(key, sizeof key, "%s", papers_path("server-" HOST ".key"));
	x->more[0] = "--tls-cert";
	x->more[1] = certificate;
	x->more[2] = "--tls-key";
	x->more[3] = key;
	return fixture_stop(x, SIGTERM) == 0 ? fixture_start(x) : -1;
}

static int open_descriptors(void)
{
	int n = 0;
	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int before, idle; /* descriptors: without a handle, and of one that has not begun to connect */

static brood *connect_to(const struct fixture *x, const char *host, struct diary *d)
{
	char address[96];
	brood *b;
	snprintf(address, sizeof address, "tls://%s%s", host, strrchr(x->tls, ':'));
	before = open_descriptors();
	assert_int_equal(brood_connect(&b, address, BROOD_OPTIONS(.on = diary_table, .data = d)), 0);
	idle = open_descriptors();
	assert_int_equal(brood_register(b, "one"), 0);
	return b;
}

/* Every thread of the resolver has ended. A sanitizer has a thread of its own. */
static int nobody_resolves(void)
{
#ifdef __SANITIZE_THREAD__
	return 1;
#else
	return process_status(getpid(), "Threads:") == 1;
#endif
}

/* ... and given back what it had. */
static int nobody_asks(void)
{
	return nobody_resolves() && open_descriptors() == before;
}

static void test_nobody_waits(void **state)
{
	struct diary d = { 0 };
	struct family other = { 0 };
	brood *b = connect_to(*state, HOST, &d);
	until_polled(b, value_of(&asked) == 1);
	assert_int_equal(brood_sync(b, 1), -ETIMEDOUT);
	setenv("BROOD_ADDRESS", ((struct fixture *)*state)->address, 1);
	family_begin(&other, KID("worker")); /* as if nothing were under way */
	until(other.b, other.d.n[BROOD_EVENT_READY] == 1);
	family_end(&other);
	assert_int_equal(value_of(&answered), 0);
	set_answering(1);
	assert_int_equal(brood_sync(b, PATIENCE_MS), 0); /* which wakes up by itself */
	assert_int_equal(value_of(&asked), 1);
	until_polled(b, nobody_resolves() && open_descriptors() == idle + 1); /* its socket */
	brood_close(b);
	until_polled(NULL, nobody_asks());
}

static void test_name_that_nobody_has(void **state)
{
	struct diary d = { 0 };
	brood *b = connect_to(*state, "nowhere.example", &d);
	set_answering(1);
	until(b, d.n[BROOD_EVENT_ERROR] == 1);
	assert_string_equal(d.error, "broker.absent");
	brood_close(b);
	until_polled(NULL, nobody_asks());
}

/* The thread goes when the resolver lets it, and takes all with it. */
static void test_close_meanwhile(void **state)
{
	struct diary d = { 0 };
	brood *b = connect_to(*state, HOST, &d);
	until_polled(b, value_of(&asked) == 1);
	brood_close(b);
	assert_int_equal(value_of(&answered), 0);
	set_answering(1);
	until_polled(NULL, nobody_asks());
}

/* A copy has no thread, and its handle refuses as ever. */
static void test_fork_meanwhile(void **state)
{
	struct diary d = { 0 };
	brood *b = connect_to(*state, HOST, &d);
	int status;
	until_polled(b, value_of(&asked) == 1);
	pid_t pid = fork();
	if (pid == 0) {
		int rc = brood_sync(b, 1);
		brood_close(b);
		_exit(rc == -ECHILD ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	set_answering(1);
	assert_int_equal(brood_sync(b, PATIENCE_MS), 0);
	brood_close(b);
	until_polled(NULL, nobody_asks());
}

static void test_resolver_that_does_not_answer(void **state)
{
	struct diary d = { 0 };
	brood *b = connect_to(*state, HOST, &d);
	until(b, d.n[BROOD_EVENT_ERROR] == 1);
	assert_string_equal(d.error, "broker.absent");
	assert_int_equal(value_of(&asked), 1); /* once, not again and again */
	set_answering(1);
	/* Too late: it has failed, and connects no more. */
	until_polled(b, nobody_resolves() && open_descriptors() == idle);
	brood_close(b);
	until_polled(NULL, nobody_asks());
}

/* Lost and sought again, it is looked up again: it may have moved. */
static void test_looked_up_again(void **state)
{
	struct fixture *x = *state;
	struct diary d = { 0 };
	brood *b = connect_to(x, HOST, &d);
	set_answering(1);
	assert_int_equal(brood_sync(b, PATIENCE_MS), 0);
	set_answering(0);
	assert_int_equal(fixture_stop(x, SIGKILL), SIGKILL);
	until(b, d.n[BROOD_EVENT_AWAY] == 1);
	until_polled(b, value_of(&asked) == 2);
	assert_int_equal(fixture_start(x), 0);
	set_answering(1);
	until(b, d.n[BROOD_EVENT_BACK] == 1);
	brood_close(b);
	until_polled(NULL, nobody_asks());
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_TRANSPORT(test_nobody_waits, host),
		ON_TRANSPORT(test_name_that_nobody_has, host),
		ON_TRANSPORT(test_close_meanwhile, host),
		ON_TRANSPORT(test_fork_meanwhile, host),
		ON_TRANSPORT(test_resolver_that_does_not_answer, host),
		ON_TRANSPORT(test_looked_up_again, host),
	};
	return RUN("resolve", tests);
}
