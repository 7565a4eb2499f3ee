/*
 * far: children on another node: the parent on alpha, the nursery on beta, and what is between two brokers. The other
 * things that children of other hosts have are in abroad.
 */
#include "control.pb-c.h"
#include "flow.h"
#include "hosts.h"
#include "nursery.pb-c.h"
#include <brood/pb.h>
#include <errno.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct hosts hosts;

/* For this user as alpha knows it, and for nobody of beta. */
static const char *configuration(void)
{
	static char text[256];
	const struct passwd *me = getpwuid(getuid());
	char number[16];
	snprintf(number, sizeof number, "%u", (unsigned)getuid());
	snprintf(text, sizeof text, "[program \"*\"]\nfree-args = yes\nenv = *\nfor = %s@alpha\n",
		 me ? me->pw_name : number);
	return text;
}

static void nursery_on_beta(const char *text)
{
	struct fixture x = { .broker = 0 };
	memcpy(x.directory, hosts.directory, sizeof x.directory);
	x.directory[sizeof x.directory - 1] = '\0';
	setenv("BROOD_ADDRESS", hosts.all[BETA].address, 1);
	nursery_start(&x, text);
	assert_string_equal(flow_host, "beta");
	setenv("BROOD_ADDRESS", hosts.all[ALPHA].address, 1);
}

static int begin(void **state)
{
	(void)state;
	hosts_begin(&hosts, 2, 0);
	unsetenv("BROOD_FD");
	hosts_forward(&hosts);
	hosts_start(&hosts);
	nursery_on_beta(configuration());
	return 0;
}

static int end(void **state)
{
	(void)state;
	int status = flow_nursery ? nursery_stop(SIGTERM) : 0;
	flow_host = NULL;
	unsetenv("FLOW_HOST");
	hosts_end(&hosts);
	return status ? -1 : 0;
}

static void test_a_life(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("burst", "50", "100000"));
	family_closes(&f);
	assert_string_equal(f.d.order, "SRmDEC");
	assert_int_equal(diary_messages(&f.d), 50);
	assert_int_equal(f.d.wrong, 0);
	assert_int_equal(f.d.exit.code, 0);
	assert_ptr_equal(strstr(f.d.exit_text, "missing"), NULL);
	assert_int_equal(f.me.n[BROOD_EVENT_JOIN], 0);
	family_end(&f);
}

static void test_both_ways(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	for (uint64_t i = 0; i < 1000; i++)
		assert_int_equal(numbered_send(f.kid, i, 100, 0), 0);
	assert_int_equal(ask_number(f.kid, "count"), 1000);
	assert_int_equal(ask_number(f.kid, "wrong"), 0);
	assert_string_equal(info_of(f.kid).node, "beta");
	assert_int_equal(brood_kill(f.kid, 0, 0), 0);
	family_closes(&f);
	assert_int_equal(f.d.exit.signo, SIGTERM);
	assert_int_equal(f.d.exit.ended_by, BROOD_BY_KILL);
	family_end(&f);
}

static void test_pipes(void **state)
{
	struct family f = { 0 };
	(void)state;
	plain_begin(&f, BROOD_ARGV("sh", "-c", "cat; echo done >&2; exit 7"),
		    .stdio = BROOD_STDIO(BROOD_PIPE(0), BROOD_PIPE(1), BROOD_PIPE(2)));
	assert_int_equal(brood_write(f.kid, 0, "hello", 5), 0);
	assert_int_equal(brood_end(f.kid, 0), 0);
	family_closes(&f);
	assert_string_equal(f.d.output[1].text, "hello");
	assert_string_equal(f.d.output[2].text, "done\n");
	assert_int_equal(f.d.exit.code, 7);
	family_end(&f);
}

static void refused(const char *host, const char *name)
{
	struct family f = { 0 };
	family_connect(&f);
	assert_int_equal(
		brood_spawn(f.b, &f.kid, BROOD_ARGV("true"), BROOD_SPAWN_TO(host, .on = diary_table, .data = &f.d)), 0);
	family_closes(&f);
	assert_string_equal(f.d.error, name);
	family_end(&f);
}

static void test_refusals(void **state)
{
	(void)state;
	refused("gamma", "host.unknown");
	refused("beta/other", "nursery.missing");
	assert_int_equal(nursery_stop(SIGTERM), 0);
	nursery_on_beta("[program \"true\"]\npath = /bin/true\n"); /* for this user of beta, which alpha's is not */
	refused("beta", "spawn.denied");
}

/* Of a question that was asked before the child was there, too: its host's clock may say that it is long past. */
static void test_deadlines_stay_here(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	for (unsigned i = 1; i <= 2; i++) {
		assert_true(brood_request(f.kid, BROOD_MSG("time", NULL, 0), PATIENCE_MS, diary_write, &f.d) > 0);
		until(f.b, f.d.n[BROOD_EVENT_REPLY] == i);
		assert_string_equal(f.d.body, "-1");
	}
	family_end(&f);
}

/* At once, if it is known where it is; else the message comes back. */
static void test_descriptors_stay_here(void **state)
{
	struct family f = { 0 };
	brood_msg *m;
	int fd = 0;
	(void)state;
	family_begin(&f, KID("worker"));
	assert_int_equal(brood_send(f.kid, BROOD_MSG("fd-leave", "", 0, .fds = &fd, .n_fds = 1)), 0);
	until(f.b, f.d.n[BROOD_EVENT_ERROR] == 1);
	assert_string_equal(f.d.error, "undelivered");
	assert_int_equal(f.d.code, -EXDEV);
	assert_non_null(strstr(f.d.text, "host to host; not delivered"));
	assert_int_equal(brood_send(f.kid, BROOD_MSG("fd-leave", "", 0, .fds = &fd, .n_fds = 1)), -EXDEV);
	assert_string_equal(brood_last_error(f.b)->name, "fd.transport");
	assert_int_equal(brood_call(f.kid, BROOD_MSG("fd-leave", "", 0, .fds = &fd, .n_fds = 1), PATIENCE_MS, &m),
			 -EXDEV);
	assert_int_equal(brood_call(f.kid, BROOD_MSG("fd-give", "present", 7), PATIENCE_MS, &m), -EXDEV);
	assert_int_equal(ask_number(f.kid, "count"), 0);
	family_end(&f);
}

/* The broker there is not: what is wrong is told when the start was waited for in vain. */
static void test_host_is_not_there(void **state)
{
	struct family f = { 0 }, g = { 0 };
	(void)state;
	assert_int_equal(nursery_stop(SIGTERM), 0);
	assert_int_equal(host_stop(&hosts, BETA, SIGTERM), 0);
	until_polled(NULL, host_said(&hosts, ALPHA, " link.failed ") > 0);
	family_connect(&f);
	family_start(&f, KID("exit", "3"), .lease_ms = 1000);
	family_closes(&f);
	assert_string_equal(f.d.error, "host.unreachable");
	assert_non_null(strstr(f.d.text, "did not answer within 1000 ms: unix:"));
	family_end(&f);
	host_start(&hosts, BETA);
	nursery_on_beta(configuration());
	family_begin(&g, KID("exit", "3"));
	family_closes(&g);
	assert_int_equal(g.d.exit.code, 3);
	family_end(&g);
}

/* What beta calls the process with this pid. */
static uint64_t id_there(brood *b, pid_t pid)
{
	brood_msg *m = ask_broker(b, "brood.control.List");
	uint64_t id = 0;
	const Brood__Control__Listing *list = brood_msg_pb(m, &brood__control__listing__descriptor);
	assert_non_null(list);
	for (size_t i = 0; i < list->n_process; i++)
		if (list->process[i]->pid == (uint32_t)pid && list->process[i]->id)
			id = list->process[i]->id;
	brood_msg_release(m);
	assert_true(id != 0);
	return id;
}

static int ask_to_signal(brood *b, const char *nursery, uint64_t id, int signo)
{
	Brood__Nursery__Signal ask = BROOD__NURSERY__SIGNAL__INIT;
	brood_peer *p;
	brood_msg *m = NULL;
	ask.id = id;
	ask.signo = (uint32_t)signo;
	assert_int_equal(brood_find(b, &p, nursery, NULL), 0);
	int rc = brood_call_pb(p, &ask.base, PATIENCE_MS, &m);
	brood_msg_release(m);
	brood_release(p);
	return rc;
}

/* Who has the user for whom it was started may have it signalled, from any process; others, that user's namesake of beta, may not. */
static void test_signals_of_others(void **state)
{
	struct family f = { 0 };
	brood *there, *here;
	(void)state;
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	assert_int_equal(brood_connect(&there, hosts.all[BETA].address, NULL), 0);
	assert_int_equal(brood_connect(&here, hosts.all[ALPHA].address, NULL), 0);
	uint64_t id = id_there(there, info_of(f.kid).pid);
	assert_int_equal(ask_to_signal(there, "nursery", id, SIGKILL), -ESRCH);
	assert_string_equal(brood_last_error(there)->name, "peer.unknown");
	assert_int_equal(ask_to_signal(here, "beta/nursery", id + 1000, SIGKILL), -ESRCH);
	assert_int_equal(ask_to_signal(here, "beta/nursery", id, 0), -EINVAL);
	assert_int_equal(ask_to_signal(here, "beta/nursery", id, NSIG), -EINVAL);
	assert_int_equal(ask_number(f.kid, "count"), 0); /* it lives */
	assert_int_equal(ask_to_signal(here, "beta/nursery", id, SIGTERM), 0);
	family_closes(&f);
	assert_int_equal(f.d.exit.signo, SIGTERM);
	assert_int_equal(f.d.exit.ended_by, BROOD_BY_ITSELF);
	brood_close(there);
	brood_close(here);
	family_end(&f);
}

/* "*" is everybody of beta, and nobody of alpha. */
static void test_everybody_here_only(void **state)
{
	static const char *const who[] = { "*", "*@*" };
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct family f = { 0 };
		char text[80];
		assert_int_equal(nursery_stop(SIGTERM), 0);
		snprintf(text, sizeof text, "[program \"*\"]\nfree-args = yes\nfor = %s\n", who[i]);
		nursery_on_beta(text);
		family_begin(&f, KID("exit", "3"));
		family_closes(&f);
		assert_string_equal(f.d.error, i == 0 ? "spawn.denied" : "");
		assert_int_equal(f.d.n[BROOD_EVENT_SPAWN], i);
		family_end(&f);
	}
}

/* The link is cut again and again: nothing is lost. */
static void test_link_is_cut(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	for (uint64_t i = 0; i < 1000; i++) {
		while (numbered_send(f.kid, i, 1000, 0) == -EAGAIN)
			assert_true(brood_process(f.b, 10) >= 0);
		if (i % 100 == 50) {
			hosts_cut(&hosts);
			assert_true(brood_process(f.b, 5) >= 0);
		}
	}
	assert_int_equal(ask_number(f.kid, "count"), 1000);
	assert_int_equal(ask_number(f.kid, "wrong"), 0);
	say(f.kid, "exit", "4");
	family_closes(&f);
	assert_int_equal(f.d.exit.code, 4);
	family_end(&f);
}

/* Either broker is killed: the same. */
static void test_brokers_are_killed(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(host_stop(&hosts, i % 2, SIGKILL), SIGKILL);
		host_start(&hosts, i % 2);
		assert_int_equal(numbered_send(f.kid, i, 100, 0), 0);
		assert_int_equal(ask_number(f.kid, "count"), i + 1);
	}
	say(f.kid, "exit", "4");
	family_closes(&f);
	assert_int_equal(f.d.exit.code, 4);
	family_end(&f);
}

/* The parent is heard before its keeper is back at a broker that does not know either. */
static void test_nursery_is_last(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	kill(flow_nursery, SIGSTOP);
	assert_int_equal(host_stop(&hosts, BETA, SIGKILL), SIGKILL);
	host_start(&hosts, BETA);
	assert_int_equal(ask_number(f.kid, "count"), 0); /* so the link is up */
	assert_int_equal(brood_kill(f.kid, SIGTERM, 0), 0);
	assert_int_equal(ask_number(f.kid, "count"), 0); /* and what was said to the keeper has reached beta */
	kill(flow_nursery, SIGCONT);
	family_closes(&f);
	assert_int_equal(f.d.exit.signo, SIGTERM);
	assert_int_equal(f.d.exit.ended_by, BROOD_BY_KILL);
	family_end(&f);
}

static void test_parent_is_killed(void **state)
{
	long pids[2];
	int out;
	(void)state;
	pid_t parent = start_program(KID("parent", "cp", "run"), &out);
	read_numbers(out, pids, 2);
	kill(parent, SIGKILL);
	(void)wait_program(parent);
	until_polled(NULL, process_is_dead((pid_t)pids[0]) && process_is_dead((pid_t)pids[1]));
	close(out);
}

static void test_nursery_is_killed(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	pid_t pid = info_of(f.kid).pid;
	assert_int_equal(nursery_stop(SIGKILL), SIGKILL);
	(void)wait_program(pid); /* an orphan, which comes to us */
	family_closes(&f);
	assert_int_equal(f.d.exit.cause, BROOD_NODE_RESTARTED);
	family_end(&f);
}

/* The other host is gone: the lease ends the child there, and the parent gives it up. */
static void test_host_is_lost(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_connect(&f);
	family_start(&f, KID("worker"), .lease_ms = 500, .on_unreachable = BROOD_UNREACHABLE_KEEP, .give_up_ms = 1000);
	until(f.b, f.d.n[BROOD_EVENT_READY] == 1);
	assert_int_equal(host_stop(&hosts, BETA, SIGKILL), SIGKILL);
	until(f.b, f.d.n[BROOD_EVENT_AWAY] >= 1);
	family_closes(&f);
	assert_int_equal(f.d.exit.cause, BROOD_UNREACHABLE);
	family_end(&f);
	host_start(&hosts, BETA);
}

#define FAR(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		FAR(test_a_life),
		FAR(test_both_ways),
		FAR(test_pipes),
		FAR(test_refusals),
		FAR(test_deadlines_stay_here),
		FAR(test_descriptors_stay_here),
		FAR(test_host_is_not_there),
		FAR(test_signals_of_others),
		FAR(test_link_is_cut),
		FAR(test_brokers_are_killed),
		FAR(test_nursery_is_last),
		FAR(test_everybody_here_only),
		FAR(test_parent_is_killed),
		FAR(test_nursery_is_killed),
		FAR(test_host_is_lost),
	};
	return RUN("far", tests);
}
