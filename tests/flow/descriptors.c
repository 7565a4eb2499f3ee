/*
 * descriptors: they come with their message or the message does not come, whoever ends, stops, or has none free; and
 * nobody keeps one that is not his: sender, broker and receiver are counted.
 */
#include "control.pb-c.h"
#include "flow.h"
#include <brood/pb.h>
#include <dirent.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define IN_FLIGHT 128 /* to one receiver, at most */

static unsigned fds_of(pid_t pid)
{
	char path[64];
	unsigned n = 0;
	snprintf(path, sizeof path, "/proc/%ld/fd", (long)pid);
	DIR *d = opendir(path);
	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* The pipe's text up to its end: all that could write to it have closed it. */
static void expect_text_then_end(brood *b, int fd, const char *text)
{
	char all[256] = "";
	size_t n = 0;
	ssize_t got = 1;
	while (got > 0) {
		until_polled(b, is_readable(fd));
		got = read(fd, all + n, sizeof all - 1 - n);
		assert_true(got >= 0);
		n += (size_t)got;
	}
	assert_string_equal(all, text);
	close(fd);
}

/* A pipe, of which the end to write to is sent and closed here. The end to read from. */
static int send_pipe(brood_peer *to, const char *type, const char *text)
{
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(brood_send(to, BROOD_MSG(type, text, strlen(text), .fds = &ends[1], .n_fds = 1)), 0);
	close(ends[1]);
	return ends[0];
}

/* A numbered message with a pipe in which its number waits. Result of brood_send(). */
static int send_number_in_pipe(brood_peer *to, uint64_t number, unsigned flags)
{
	int ends[2];
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(write(ends[1], &number, sizeof number), sizeof number);
	int rc = brood_send(to, BROOD_MSG("numbered", &number, NUMBERED_MIN + 8, .fill = numbered_fill, .flags = flags,
					  .fds = &ends[0], .n_fds = 1));
	close(ends[0]);
	close(ends[1]);
	return rc;
}

static void ask_with(struct family *f, const char *type, const int *fds, size_t n, struct diary *answer)
{
	assert_true(brood_request(f->kid, BROOD_MSG(type, "hello", 5, .fds = fds, .n_fds = n), PATIENCE_MS, diary_write,
				  answer) > 0);
	until(f->b, answer->n[BROOD_EVENT_REPLY] == 1);
}

/* ---- both ways --------------------------------------------------------------------------------------------------- */

static void test_in_a_request(void **state)
{
	struct family f = { 0 };
	struct diary answer = { 0 };
	int ends[2];
	(void)state;
	family_begin(&f, KID("worker"));
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	ask_with(&f, "fd-write", &ends[1], 1, &answer);
	assert_string_equal(answer.body, "1");
	close(ends[1]);
	expect_text_then_end(f.b, ends[0], "hello0");
	family_end(&f);
}

static void test_in_a_message_closed_at_once(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker")); /* accepted before there is a child */
	int fd = send_pipe(f.kid, "fd-write", "early");
	expect_text_then_end(f.b, fd, "early0");
	fd = send_pipe(f.kid, "fd-write", "later");
	expect_text_then_end(f.b, fd, "later0");
	family_end(&f);
}

static void test_in_a_reply(void **state)
{
	struct family f = { 0 };
	brood_msg *m;
	(void)state;
	family_begin(&f, KID("worker"));
	assert_int_equal(brood_call(f.kid, BROOD_MSG("fd-give", "present", 7), PATIENCE_MS, &m), 0);
	assert_int_equal(m->n_fds, 1);
	int fd = brood_msg_take_fd(m, 0);
	assert_true(fd > 2);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(brood_msg_take_fd(m, 0), -ENOENT); /* taken */
	assert_int_equal(brood_msg_take_fd(m, 1), -ENOENT);
	assert_int_equal(brood_msg_take_fd(NULL, 0), -EINVAL);
	brood_msg_release(m);
	expect_text_then_end(f.b, fd, "present");
	assert_int_equal(brood_call(f.kid, BROOD_MSG("echo", "x", 1), PATIENCE_MS, &m), 0);
	assert_int_equal(m->n_fds, 0);
	assert_int_equal(brood_msg_take_fd(m, 0), -ENOENT);
	brood_msg_release(m);
	family_end(&f);
}

static brood_msg *kept;

static int keep_it(const brood_event *e)
{
	if (e->msg)
		kept = brood_msg_keep(e->msg);
	return 0;
}

/* It is the message's as long as that is kept. */
static void test_from_a_child_and_kept(void **state)
{
	struct family f = { .d.also = keep_it };
	(void)state;
	family_begin(&f, KID("worker"));
	say(f.kid, "fd-give-unasked", "surprise");
	until(f.b, diary_messages(&f.d) == 1);
	assert_int_equal(kept->n_fds, 1);
	for (int i = 0; i < 20; i++)
		assert_int_equal(ask_number(f.kid, "count"), 1);
	int fd = brood_msg_take_fd(kept, 0);
	brood_msg_release(kept);
	expect_text_then_end(f.b, fd, "surprise");
	family_end(&f);
}

static void test_sixteen_and_no_more(void **state)
{
	struct family f = { 0 };
	struct diary answer = { 0 };
	int ends[2], fds[17];
	(void)state;
	family_begin(&f, KID("worker"));
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	for (int i = 0; i < 17; i++)
		fds[i] = ends[1];
	ask_with(&f, "fd-write", fds, 16, &answer);
	assert_string_equal(answer.body, "16");
	assert_int_equal(brood_send(f.kid, BROOD_MSG("fd-write", "", 0, .fds = fds, .n_fds = 17)), -EINVAL);
	assert_int_equal(brood_send(f.kid, BROOD_MSG("fd-write", "", 0, .n_fds = 1)), -EINVAL);
	assert_int_equal(
		brood_call(f.kid, BROOD_MSG("fd-write", "", 0, .fds = fds, .n_fds = 17), 1000, &(brood_msg *){ 0 }),
		-EINVAL);
	close(ends[1]);
	expect_text_then_end(f.b, ends[0],
			     "hello0hello1hello2hello3hello4hello5hello6hello7hello8hello9hello10hello11hello12hello13"
			     "hello14hello15");
	family_end(&f);
}

/* Refused at once, and then nothing has happened. */
static void test_what_is_no_descriptor(void **state)
{
	struct family f = { 0 };
	brood_peer *broker;
	int fds[2] = { 0, -1 };
	(void)state;
	family_begin(&f, KID("worker"));
	assert_int_equal(ask_number(f.kid, "count"), 0);
	unsigned before = count_fds();
	assert_int_equal(brood_send(f.kid, BROOD_MSG("fd-leave", "", 0, .fds = fds, .n_fds = 2)), -EBADF);
	fds[1] = 9999;
	assert_int_equal(brood_send(f.kid, BROOD_MSG("fd-leave", "", 0, .fds = fds, .n_fds = 2)), -EBADF);
	assert_string_equal(brood_last_error(f.b)->name, "argument");
	assert_int_equal(
		brood_call(f.kid, BROOD_MSG("fd-leave", "", 0, .fds = fds, .n_fds = 2), 1000, &(brood_msg *){ 0 }),
		-EBADF);
	assert_int_equal(brood_find(f.b, &broker, "@broker", NULL), 0);
	assert_int_equal(brood_send(broker, BROOD_MSG("x", "", 0, .fds = fds, .n_fds = 1)), -EINVAL);
	assert_int_equal(count_fds(), before);
	assert_int_equal(ask_number(f.kid, "count"), 0);
	brood_release(broker);
	family_end(&f);
}

/* Compiled when brood_out was shorter: what lies behind it is not looked at. */
static void test_an_older_program(void **state)
{
	struct family f = { 0 };
	struct brood_out old = *BROOD_MSG("numbered", &(uint64_t){ 0 }, 8, .fds = (const int *)8, .n_fds = 99);
	(void)state;
	old.size = offsetof(struct brood_out, fds);
	family_begin(&f, KID("worker"));
	assert_int_equal(brood_send(f.kid, &old), 0);
	assert_int_equal(ask_number(f.kid, "count"), 1);
	family_end(&f);
}

/* ---- the right message ------------------------------------------------------------------------------------------- */

static void test_among_a_thousand_others(void **state)
{
	struct family f = { 0 };
	uint64_t with = 0;
	(void)state;
	family_begin(&f, KID("worker"));
	for (uint64_t i = 0; i < 3000; i++) {
		unsigned flags = BROOD_BLOCK | (i % 3 ? BROOD_MORE : 0);
		int has = i < 1000 ? i % 97 == 0 : i < 2000 ? i % 2 == 0 : i % 400 == 0;
		with += (uint64_t)has;
		assert_int_equal(
			has ? send_number_in_pipe(f.kid, i, flags) : numbered_send(f.kid, i, 8 + i % 500, flags), 0);
	}
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(ask_number(f.kid, "count"), 3000);
	assert_int_equal(ask_number(f.kid, "wrong"), 0);
	assert_int_equal(ask_number(f.kid, "fd-came"), with);
	family_end(&f);
}

static void test_a_long_message(void **state)
{
	struct family f = { 0 };
	uint64_t number = 0;
	int ends[2];
	(void)state;
	family_begin(&f, KID("worker"));
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	for (; number < 3; number++) {
		assert_int_equal(write(ends[1], &number, sizeof number), sizeof number);
		assert_int_equal(brood_send(f.kid, BROOD_MSG("numbered", &number, 1u << 20, .fill = numbered_fill,
							     .flags = BROOD_BLOCK, .fds = &ends[0], .n_fds = 1)),
				 0);
	}
	close(ends[0]);
	close(ends[1]);
	assert_int_equal(ask_number(f.kid, "wrong"), 0);
	assert_int_equal(ask_number(f.kid, "fd-came"), 3);
	family_end(&f);
}

static pid_t start_server(const char *name)
{
	long pid;
	int out;
	(void)start_program(KID("server", name), &out);
	read_numbers(out, &pid, 1);
	close(out);
	assert_true(pid > 0);
	return (pid_t)pid;
}

static void end_program(pid_t pid)
{
	kill(pid, SIGTERM);
	assert_int_equal(wait_program(pid), SIGTERM);
}

/* Sent to a name before anybody had it. */
static void test_to_a_name_that_comes_later(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_connect(&f);
	assert_int_equal(
		brood_find(f.b, &f.kid, "later", BROOD_FIND(.on = diary_table, .data = &f.d, .wait_ms = PATIENCE_MS)),
		0);
	for (uint64_t i = 0; i < 20; i++)
		assert_int_equal(i % 3 ? numbered_send(f.kid, i, 100, 0) : send_number_in_pipe(f.kid, i, 0), 0);
	assert_int_equal(brood_process(f.b, 50) >= 0, 1);
	pid_t server = start_server("later");
	assert_int_equal(ask_number(f.kid, "count"), 20);
	assert_int_equal(ask_number(f.kid, "wrong"), 0);
	assert_int_equal(ask_number(f.kid, "fd-came"), 7);
	family_end(&f);
	end_program(server);
}

/* Sent to a name whose holder turns out to be my own child. */
static void test_to_a_name_that_is_somebody_known(void **state)
{
	struct family f = { 0 };
	brood_peer *name;
	(void)state;
	family_begin(&f, KID("named", "known"));
	assert_int_equal(ask_number(f.kid, "count"), 0);
	assert_int_equal(brood_find(f.b, &name, "known", NULL), 0);
	for (uint64_t i = 0; i < 9; i++)
		assert_int_equal(i % 3 ? numbered_send(name, i, 100, 0) : send_number_in_pipe(name, i, 0), 0);
	assert_int_equal(ask_number(name, "count"), 9);
	assert_int_equal(ask_number(name, "wrong"), 0);
	assert_int_equal(ask_number(name, "fd-came"), 3);
	brood_release(name);
	family_end(&f);
}

/* What leaves in one turn for several. */
static void test_to_several_at_once(void **state)
{
	struct family f = { 0 };
	brood_peer *kids[3];
	uint64_t sent[3] = { 0 };
	(void)state;
	family_connect(&f);
	for (int k = 0; k < 3; k++) {
		assert_int_equal(brood_spawn(f.b, &kids[k], KID("worker"), NULL), 0);
		assert_int_equal(ask_number(kids[k], "count"), 0);
	}
	for (int i = 0; i < 300; i++) {
		int k = i % 3, with = i % 5 == 0 || i % 7 == 0;
		unsigned more = i % 30 == 29 ? 0 : BROOD_MORE;
		assert_int_equal(with ? send_number_in_pipe(kids[k], sent[k], more | BROOD_BLOCK)
				      : numbered_send(kids[k], sent[k], 100, more),
				 0);
		sent[k]++;
	}
	for (int k = 0; k < 3; k++) {
		assert_int_equal(ask_number(kids[k], "count"), 100);
		assert_int_equal(ask_number(kids[k], "wrong"), 0);
	}
	family_end(&f);
}

/* ---- nothing stays ----------------------------------------------------------------------------------------------- */

static void test_not_taken(void **state)
{
	const struct fixture *x = *state;
	struct family f = { 0 };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), fds[4] = { null, null, null, null };
	family_begin(&f, KID("worker"));
	uint64_t in_kid = ask_number(f.kid, "fd-open");
	unsigned in_broker = fds_of(x->broker), here = count_fds();
	for (int i = 0; i < 200; i++)
		assert_int_equal(
			brood_send(f.kid, BROOD_MSG("fd-leave", "", 0, .fds = fds, .n_fds = 4, .flags = BROOD_BLOCK)),
			0);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(ask_number(f.kid, "fd-open"), in_kid);
	until_polled(f.b, fds_of(x->broker) <= in_broker);
	assert_int_equal(count_fds(), here);
	close(null);
	family_end(&f);
}

/* A message that nobody handles, and one that waits for brood_next(), take theirs along. */
static void test_not_even_looked_at(void **state)
{
	brood *b;
	brood_peer *kid;
	(void)state;
	assert_int_equal(brood_connect(&b, NULL, NULL), 0);
	assert_int_equal(brood_spawn(b, &kid, KID("worker"), NULL), 0);
	for (int i = 0; i < 10; i++)
		say(kid, "fd-give-unasked", "unwanted");
	assert_int_equal(ask_number(kid, "count"), 10); /* they are behind us, unseen */
	brood_close(b);
}

static void test_receiver_dies_with_them(void **state)
{
	const struct fixture *x = *state;
	struct family f = { 0 };
	family_begin(&f, KID("worker"));
	assert_int_equal(ask_number(f.kid, "count"), 0);
	unsigned here = count_fds(), in_broker = fds_of(x->broker);
	pid_t pid = info_of(f.kid).pid;
	kill(pid, SIGSTOP);
	until_polled(NULL, process_state(pid) == 'T');
	int fd[3];
	for (int i = 0; i < 3; i++)
		fd[i] = send_pipe(f.kid, "fd-write", "too late");
	kill(pid, SIGKILL);
	until(f.b, f.d.n[BROOD_EVENT_CLOSE] == 1);
	assert_string_equal(f.d.error, "undelivered");
	assert_non_null(strstr(f.d.text, "3 messages"));
	for (int i = 0; i < 3; i++)
		expect_text_then_end(f.b, fd[i], "");
	assert_true(count_fds() <= here); /* its pidfd is gone too */
	until_polled(f.b, fds_of(x->broker) < in_broker);
	family_end(&f);
}

/* ---- bounds ------------------------------------------------------------------------------------------------------ */

/* 300 with descriptors to a child that is stopped: no more than a few at a time, and all of them in the end. */
static void test_receiver_stopped(void **state)
{
	struct family f = { 0 };
	uint64_t sent = 0;
	int rc;
	(void)state;
	family_begin(&f, KID("worker"));
	assert_int_equal(ask_number(f.kid, "count"), 0);
	unsigned here = count_fds();
	pid_t pid = info_of(f.kid).pid;
	kill(pid, SIGSTOP);
	until_polled(NULL, process_state(pid) == 'T');
	while ((rc = send_number_in_pipe(f.kid, sent, 0)) == 0)
		sent++;
	assert_int_equal(rc, -EAGAIN);
	assert_string_equal(brood_last_error(f.b)->name, "window");
	assert_int_equal(sent, IN_FLIGHT);
	assert_int_equal(count_fds(), here + IN_FLIGHT);
	assert_int_equal(numbered_send(f.kid, sent++, 8, 0), 0); /* without, there is room */
	kill(pid, SIGCONT);
	while (sent < 300) {
		unsigned drains = f.d.n[BROOD_EVENT_DRAIN];
		rc = send_number_in_pipe(f.kid, sent, 0);
		if (rc == -EAGAIN)
			until(f.b, f.d.n[BROOD_EVENT_DRAIN] > drains);
		else
			sent++;
	}
	assert_true(f.d.n[BROOD_EVENT_DRAIN] > 0);
	assert_int_equal(ask_number(f.kid, "count"), 300);
	assert_int_equal(ask_number(f.kid, "wrong"), 0);
	assert_int_equal(ask_number(f.kid, "fd-came"), 299);
	assert_int_equal(brood_sync(f.b, PATIENCE_MS), 0);
	assert_int_equal(count_fds(), here);
	family_end(&f);
}

/* In the broker, for whomsoever. */
static uint64_t bytes_waiting(brood *b)
{
	brood_msg *m = ask_broker(b, "brood.control.GetStatus");
	const Brood__Control__Status *status = brood_msg_pb(m, &brood__control__status__descriptor);
	assert_non_null(status);
	uint64_t waiting = status->queued;
	brood_msg_release(m);
	return waiting;
}

#define CROWD 8

/* More senders than the broker has patience for: they are held, and nothing is lost. */
static void test_many_senders_to_one_stopped(void **state)
{
	const struct fixture *x = *state;
	struct family f[CROWD] = { 0 };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), fds[16];
	pid_t server = start_server("slow");
	for (int i = 0; i < 16; i++)
		fds[i] = null;
	for (int i = 0; i < CROWD; i++) {
		family_connect(&f[i]);
		assert_int_equal(brood_find(f[i].b, &f[i].kid, "slow", BROOD_FIND(.on = diary_table, .data = &f[i].d)),
				 0);
		assert_int_equal(ask_number(f[i].kid, "count"), 0);
	}
	unsigned in_broker = fds_of(x->broker);
	uint64_t in_server = ask_number(f[0].kid, "fd-open");
	kill(server, SIGSTOP);
	until_polled(NULL, process_state(server) == 'T');
	for (uint64_t i = 0; i < 40; i++)
		assert_int_equal(numbered_send(f[0].kid, i, 65536, 0), 0);
	until_polled(f[0].b, bytes_waiting(f[0].b) > 65536); /* its socket is full */
	for (int round = 0; round < IN_FLIGHT / 16; round++)
		for (int i = 0; i < CROWD; i++) {
			assert_int_equal(brood_send(f[i].kid, BROOD_MSG("fd-leave", "", 0, .fds = fds, .n_fds = 16)),
					 0);
			assert_true(brood_process(f[i].b, 0) >= 0);
		}
	unsigned waiting = 0;
	for (int i = 0; i < 50 || (waiting < 256 && i < 2000); i++) { /* and not more, when there was time for it */
		nap();
		for (int k = 0; k < CROWD; k++)
			assert_true(brood_process(f[k].b, 0) >= 0);
		waiting = fds_of(x->broker) - in_broker;
	}
	print_message("%u descriptors wait in the broker\n", waiting);
	assert_in_range(waiting, 256, 768);
	kill(server, SIGCONT);
	for (int i = 0; i < CROWD; i++) {
		assert_int_equal(brood_sync(f[i].b, PATIENCE_MS), 0);
		assert_int_equal(f[i].d.n[BROOD_EVENT_ERROR], 0);
	}
	assert_int_equal(ask_number(f[0].kid, "count"), 40 + CROWD * IN_FLIGHT / 16);
	until_polled(f[0].b, fds_of(x->broker) <= in_broker);
	assert_int_equal(ask_number(f[0].kid, "fd-open"), in_server); /* nor of what came twice */
	for (int i = 0; i < CROWD; i++)
		family_end(&f[i]);
	close(null);
	end_program(server);
}

/* ---- nowhere to put them ----------------------------------------------------------------------------------------- */

static uint64_t ask_limit(struct family *f, const char *text)
{
	brood_msg *m;
	assert_int_equal(brood_call(f->kid, BROOD_MSG("fd-limit", text, 1), PATIENCE_MS, &m), 0);
	uint64_t n = strtoull(m->text, NULL, 10);
	brood_msg_release(m);
	return n;
}

/* A message and a request with a descriptor both fail for this reason; what comes behind them arrives. */
static void expect_lost(struct family *f, int code, const char *name, const char *words)
{
	struct diary answer = { 0 };
	uint64_t before = ask_number(f->kid, "count");
	unsigned errors = f->d.n[BROOD_EVENT_ERROR];
	int fd = send_pipe(f->kid, "fd-write", "lost");
	until(f->b, f->d.n[BROOD_EVENT_ERROR] == errors + 1);
	assert_string_equal(f->d.error, "undelivered");
	assert_int_equal(f->d.code, code);
	assert_non_null(strstr(f->d.text, words));
	assert_non_null(strstr(f->d.text, "1 message to "));
	assert_non_null(strstr(f->d.text, "not delivered"));
	expect_text_then_end(f->b, fd, "");
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	ask_with(f, "fd-write", &null, 1, &answer);
	close(null);
	assert_string_equal(answer.error, name);
	assert_int_equal(answer.code, code);
	assert_non_null(strstr(answer.text, words));
	say(f->kid, "plain", "and on it goes");
	assert_int_equal(ask_number(f->kid, "count"), before + 1);
	assert_int_equal(f->d.n[BROOD_EVENT_ERROR], errors + 1);
}

static void test_receiver_has_none_free(void **state)
{
	struct family f = { 0 };
	(void)state;
	family_begin(&f, KID("worker"));
	assert_true(ask_limit(&f, "1") > 0);
	expect_lost(&f, -EMFILE, "fd.lost", "no descriptor free");
	expect_lost(&f, -EMFILE, "fd.lost", "no descriptor free");
	(void)ask_limit(&f, "0");
	expect_text_then_end(f.b, send_pipe(f.kid, "fd-write", "again"), "again0");
	family_end(&f);
}

/* A long one too: its first fragment brought them, and its last one says that it is not delivered. */
static void test_receiver_has_none_free_for_a_long_message(void **state)
{
	struct family f = { 0 };
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	char *long_text = calloc(1, 300000);
	(void)state;
	family_begin(&f, KID("worker"));
	(void)ask_limit(&f, "1");
	assert_int_equal(brood_send(f.kid, BROOD_MSG("fd-leave", long_text, 300000, .fds = &null, .n_fds = 1)), 0);
	until(f.b, f.d.n[BROOD_EVENT_ERROR] == 1);
	assert_string_equal(f.d.error, "undelivered");
	(void)ask_limit(&f, "0");
	assert_int_equal(ask_number(f.kid, "count"), 0);
	free(long_text);
	close(null);
	family_end(&f);
}

static void limit_broker(const struct fixture *x, rlim_t n, struct rlimit *old)
{
	assert_int_equal(prlimit(x->broker, RLIMIT_NOFILE, NULL, old), 0);
	struct rlimit tight = { n, old->rlim_max };
	assert_int_equal(prlimit(x->broker, RLIMIT_NOFILE, &tight, NULL), 0);
}

static void test_broker_has_none_free(void **state)
{
	const struct fixture *x = *state;
	struct family f = { 0 };
	struct rlimit old;
	family_begin(&f, KID("worker"));
	assert_int_equal(ask_number(f.kid, "count"), 0);
	limit_broker(x, 1, &old);
	expect_lost(&f, -EMFILE, "fd.lost", "on the way");
	assert_int_equal(prlimit(x->broker, RLIMIT_NOFILE, &old, NULL), 0);
	expect_text_then_end(f.b, send_pipe(f.kid, "fd-write", "again"), "again0");
	family_end(&f);
}

/* The one who asked has none free: the answer becomes an error. And he cannot send any either. */
static void test_asker_has_none_free(void **state)
{
	struct family f = { 0 };
	struct rlimit old, tight;
	brood_msg *m;
	int fd = 0;
	(void)state;
	family_begin(&f, KID("worker"));
	assert_int_equal(ask_number(f.kid, "count"), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	tight = (struct rlimit){ 3, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	int rc = brood_call(f.kid, BROOD_MSG("fd-give", "present", 7), PATIENCE_MS, &m);
	int sent = brood_send(f.kid, BROOD_MSG("fd-leave", "", 0, .fds = &fd, .n_fds = 1));
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(rc, -EMFILE);
	assert_int_equal(sent, -EMFILE);
	assert_string_equal(brood_last_error(f.b)->name, "fd.limit");
	assert_int_equal(ask_number(f.kid, "count"), 0);
	family_end(&f);
}

/* ---- transports -------------------------------------------------------------------------------------------------- */

static void test_sender_elsewhere(void **state)
{
	struct family f = { 0 };
	brood_msg *m;
	int fd = 0;
	(void)state;
	family_begin(&f, KID("worker")); /* refused before, while and after it connects */
	for (int i = 0; i < 2; i++) {
		assert_int_equal(brood_send(f.kid, BROOD_MSG("fd-leave", "", 0, .fds = &fd, .n_fds = 1)), -EXDEV);
		assert_string_equal(brood_last_error(f.b)->name, "fd.transport");
		assert_true(strlen(brood_last_error(f.b)->text) > 0 && strlen(brood_last_error(f.b)->hint) > 0);
		assert_int_equal(brood_call(f.kid, BROOD_MSG("fd-leave", "", 0, .fds = &fd, .n_fds = 1), 1000, &m),
				 -EXDEV);
		assert_int_equal(ask_number(f.kid, "count"), 0);
	}
	/* The child's answer cannot bring any either; its handler's result becomes the answer. */
	assert_int_equal(brood_call(f.kid, BROOD_MSG("fd-give", "present", 7), PATIENCE_MS, &m), -EXDEV);
	family_end(&f);
}

static void test_receiver_elsewhere(void **state)
{
	const struct fixture *x = *state;
	struct family f = { 0 };
	pid_t server = start_server("afar"); /* there; and we are on the Unix socket */
	setenv("BROOD_ADDRESS", x->address, 1);
	unsetenv("BROOD_TOKEN_FILE");
	family_connect(&f);
	assert_int_equal(brood_find(f.b, &f.kid, "afar", BROOD_FIND(.on = diary_table, .data = &f.d)), 0);
	expect_lost(&f, -EXDEV, "fd.transport", "not on a Unix socket");
	family_end(&f);
	end_program(server);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_UNIX(test_in_a_request),
		ON_UNIX(test_in_a_message_closed_at_once),
		ON_UNIX(test_in_a_reply),
		ON_UNIX(test_from_a_child_and_kept),
		ON_UNIX(test_sixteen_and_no_more),
		ON_UNIX(test_what_is_no_descriptor),
		ON_UNIX(test_an_older_program),
		ON_UNIX(test_among_a_thousand_others),
		ON_UNIX(test_a_long_message),
		ON_UNIX(test_to_a_name_that_comes_later),
		ON_UNIX(test_to_a_name_that_is_somebody_known),
		ON_UNIX(test_to_several_at_once),
		ON_UNIX(test_not_taken),
		ON_UNIX(test_not_even_looked_at),
		ON_UNIX(test_receiver_dies_with_them),
		ON_UNIX(test_receiver_stopped),
		ON_UNIX(test_many_senders_to_one_stopped),
		ON_UNIX(test_receiver_has_none_free),
		ON_UNIX(test_receiver_has_none_free_for_a_long_message),
		ON_UNIX(test_broker_has_none_free),
		ON_UNIX(test_asker_has_none_free),
		ON_FIFO(test_sender_elsewhere),
		ON_NET(test_sender_elsewhere),
		ON_FIFO(test_receiver_elsewhere),
		ON_NET(test_receiver_elsewhere),
	};
	return RUN("descriptors", tests);
}
