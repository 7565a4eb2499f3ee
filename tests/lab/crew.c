/*
 * crew: what the lab's hosts run. Its first argument says which part it plays; what happens to it is told on stdout, one
 * line of JSON for each event, with the time of a clock that all hosts share.
 *
 *   crew sink NAME                   takes numbered messages under this name, and answers requests, until SIGTERM
 *   crew source NAME COUNT RATE      sends that many there, at most so many a second, each confirmed, and leaves
 *   crew pulse NAME SECONDS          asks there without pause; for each half second: how often, how fast
 *   crew parent HOST COUNT AT-ONCE DIR    starts so many children there (-: here), which end in all ways; each end is checked
 *   crew child DIR NUMBER            one of these
 *   crew waiting HOST COUNT          starts so many children there that do nothing, and leaves when all have ended
 *   crew refused HOST PROGRAM        cannot start this there, and tells why
 *
 * A child leaves a file DIR/NUMBER.PID behind, so that children that nobody knows are counted too.
 */
#include "../flow/numbered.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static long must(long rc, const char *what)
{
	if (rc >= 0)
		return rc;
	fprintf(stderr, "crew: %s: %s\n", what, strerror((int)-rc));
	exit(1);
}

#define MUST(call) must(call, #call)
#define TELL(kind, ...)                                                                                                \
	do {                                                                                                           \
		printf("{\"event\": \"%s\", \"t\": %.6f", kind, now());                                                \
		printf(__VA_ARGS__);                                                                                   \
		puts("}");                                                                                             \
	} while (0)

static const char *const kinds[] = { "none", "spawn", "ready", "message",    "output", "drain",
				     "away", "back",  "error", "disconnect", "exit",   "close",
				     "join", "wake",  "reply", "result",     "confirm" };

/* Whatever is not expected: away, back, errors. */
static int tell(const brood_event *e)
{
	if (e->type == BROOD_EVENT_DRAIN)
		return 0;
	const char *kind = (size_t)e->type < sizeof(kinds) / sizeof(*kinds) ? kinds[e->type] : "other";
	TELL(kind, ", \"mine\": %s, \"error\": \"%s\"", e->peer == brood_self(e->handle) ? "true" : "false",
	     e->error ? e->error->name : "");
	if (e->error)
		fprintf(stderr, "%s: %s: %s (%s)\n", kind, e->error->name, e->error->text, e->error->hint);
	return 0;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static struct {
	uint64_t next, twice, skipped, wrong;
} sink;

static int take(const brood_event *e)
{
	if (e->msg->wants_reply)
		return brood_reply(e->msg, BROOD_TEXT("here"));
	uint64_t n = numbered_read(e->msg);
	if (n == UINT64_MAX) {
		sink.wrong++;
		return 0;
	}
	sink.twice += n < sink.next;
	sink.skipped += n > sink.next ? n - sink.next : 0;
	sink.next = n >= sink.next ? n + 1 : sink.next;
	return 0;
}

static brood *me;
static char program[4096]; /* this one */

static void leave(int number)
{
	(void)number;
	brood_stop(me);
}

static int sink_play(char **argv)
{
	signal(SIGTERM, leave);
	MUST(brood_connect(&me, NULL, BROOD_OPTIONS(.on = BROOD_ON(.message = take, .any = tell), .name = argv[0])));
	MUST(brood_sync(me, -1));
	TELL("begun", ", \"name\": \"%s\"", argv[0]);
	int rc = brood_run(me);
	TELL("sum", ", \"taken\": %llu, \"twice\": %llu, \"skipped\": %llu, \"wrong\": %llu",
	     (unsigned long long)sink.next, (unsigned long long)sink.twice, (unsigned long long)sink.skipped,
	     (unsigned long long)sink.wrong);
	brood_close(me);
	return rc < 0;
}

static struct {
	uint64_t count, sent, confirmed, failed;
} source;

static size_t length_of(uint64_t number)
{
	return NUMBERED_MIN + (size_t)(number % 1000 == 0 ? 100000 : number * 7919 % 600);
}

static int confirmed(const brood_event *e)
{
	source.confirmed += !e->error;
	source.failed += e->error != NULL;
	if (e->error && source.failed == 1)
		tell(e);
	return 0;
}

/* As many as there is room for. */
static void pour(brood_peer *to, uint64_t up_to)
{
	while (source.sent < up_to && source.sent < source.count) {
		uint64_t n = source.sent;
		int rc = brood_send(to, BROOD_MSG("numbered", &n, length_of(n), .fill = numbered_fill,
						  .flags = BROOD_MORE, .confirm = confirmed));
		if (rc == -EAGAIN)
			return;
		must(rc, "send");
		source.sent++;
	}
}

static brood_peer *find(const char *name)
{
	brood_peer *peer;
	MUST(brood_connect(&me, NULL, BROOD_OPTIONS(.on = BROOD_ON(.any = tell))));
	MUST(brood_find(me, &peer, name, BROOD_FIND(.wait_ms = 30000)));
	return peer;
}

static int source_play(char **argv)
{
	source.count = strtoull(argv[1], NULL, 10);
	double rate = atof(argv[2]);
	brood_peer *to = find(argv[0]);
	TELL("begun", ", \"to\": \"%s\"", argv[0]);
	for (double since = now(); source.confirmed + source.failed < source.count;) {
		pour(to, (uint64_t)((now() - since) * rate) + 1);
		MUST(brood_process(me, 5));
	}
	TELL("sum", ", \"confirmed\": %llu, \"failed\": %llu", (unsigned long long)source.confirmed,
	     (unsigned long long)source.failed);
	brood_close(me);
	return source.failed != 0;
}

/* ---- pulse ------------------------------------------------------------------------------------------------------- */

#define MOST 200000

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static void tell_window(double *took, size_t n)
{
	qsort(took, n, sizeof(*took), by_size);
	TELL("window", ", \"n\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f, \"longest_us\": %.1f", n, took[n / 2] * 1e6,
	     took[n * 99 / 100] * 1e6, took[n - 1] * 1e6);
	fflush(stdout);
}

static int pulse_play(char **argv)
{
	static double took[MOST];
	brood_peer *to = find(argv[0]);
	brood_msg *answer;
	MUST(brood_call(to, BROOD_TEXT("?"), 30000, &answer));
	brood_msg_release(answer);
	for (double since = now(), begun = since; since - begun < atof(argv[1]); since = now()) {
		size_t n = 0;
		for (double at = since; at - since < 0.5 && n < MOST; n++) {
			double asked = at;
			MUST(brood_call(to, BROOD_TEXT("?"), 30000, &answer));
			brood_msg_release(answer);
			at = now();
			took[n] = at - asked;
		}
		tell_window(took, n);
	}
	brood_close(me);
	return 0;
}

/* ---- parent and child -------------------------------------------------------------------------------------------- */

enum how { RETURNS, SIGNALS_ITSELF, IS_KILLED, HOWS };

struct ward {
	unsigned number, spawned, messages, exits, closes;
	int cause, code, signo, ended_by;
	double asked, started, heard;
	const char *error;
};

static struct {
	struct ward *all;
	unsigned count, at_once, begun, done;
	const char *host, *directory, *program;
} family;

static enum how how_of(unsigned number)
{
	return (enum how)(number % HOWS);
}

static void begin(void);

static int ward_spawned(const brood_event *e)
{
	struct ward *w = e->data;
	w->spawned++;
	w->started = now();
	return 0;
}

static int ward_said(const brood_event *e)
{
	struct ward *w = e->data;
	if (w->messages++ == 0)
		w->heard = now();
	if (how_of(w->number) == IS_KILLED)
		MUST(brood_kill(e->peer, SIGKILL, 0));
	return 0;
}

static int ward_failed(const brood_event *e)
{
	struct ward *w = e->data;
	w->error = strdup(e->error->name);
	return tell(e);
}

static int ward_exited(const brood_event *e)
{
	struct ward *w = e->data;
	w->exits++;
	w->cause = e->exit->cause;
	w->code = e->exit->code;
	w->signo = e->exit->signo;
	w->ended_by = e->exit->ended_by;
	return 0;
}

static int ward_closed(const brood_event *e)
{
	struct ward *w = e->data;
	w->closes++;
	family.done++;
	brood_release(e->peer);
	if (family.begun < family.count)
		begin();
	else if (family.done == family.count)
		brood_stop(me);
	return 0;
}

/* Away and back come to every child of a host that is away; once a line is enough. */
static int ward_other(const brood_event *e)
{
	return e->type == BROOD_EVENT_AWAY || e->type == BROOD_EVENT_BACK ? tell(e) : 0;
}

static void begin(void)
{
	static const struct brood_handlers on = { .size = sizeof(on),
						  .spawn = ward_spawned,
						  .message = ward_said,
						  .error = ward_failed,
						  .exit = ward_exited,
						  .close = ward_closed,
						  .any = ward_other };
	struct ward *w = &family.all[family.begun];
	char number[16];
	brood_peer *peer;
	w->number = family.begun++;
	w->asked = now();
	snprintf(number, sizeof(number), "%u", w->number);
	MUST(brood_spawn(me, &peer, BROOD_ARGV(family.program, "child", family.directory, number),
			 BROOD_SPAWN(.on = &on, .data = w, .host = family.host)));
	MUST(brood_send(peer, BROOD_TEXT("begin")));
}

static int as_it_should(const struct ward *w)
{
	if (w->spawned != 1 || w->messages != 1 || w->exits != 1 || w->closes != 1 || w->error)
		return 0;
	switch (how_of(w->number)) {
	case RETURNS:
		return w->cause == BROOD_EXITED && w->code == (int)(w->number % 100) && w->ended_by == BROOD_BY_ITSELF;
	case SIGNALS_ITSELF:
		return w->cause == BROOD_SIGNALED && w->signo == SIGUSR1 && w->ended_by == BROOD_BY_ITSELF;
	case IS_KILLED:
	case HOWS:
		break;
	}
	return w->cause == BROOD_SIGNALED && w->signo == SIGKILL && w->ended_by == BROOD_BY_KILL;
}

static void tell_ward(const struct ward *w)
{
	TELL("wrong",
	     ", \"number\": %u, \"spawned\": %u, \"messages\": %u, \"exits\": %u, \"closes\": %u, \"cause\": %d, "
	     "\"code\": %d, "
	     "\"signo\": %d, \"ended_by\": %d, \"error\": \"%s\"",
	     w->number, w->spawned, w->messages, w->exits, w->closes, w->cause, w->code, w->signo, w->ended_by,
	     w->error ? w->error : "");
}

static double median(double *all, size_t n)
{
	qsort(all, n, sizeof(*all), by_size);
	return n ? all[n / 2] * 1e6 : 0;
}

static void tell_family(void)
{
	double *start = calloc(2 * family.count, sizeof(*start)), *first = start + family.count;
	unsigned right = 0;
	size_t n = 0;
	for (unsigned i = 0; i < family.count; i++) {
		struct ward *w = &family.all[i];
		if (as_it_should(w))
			right++;
		else
			tell_ward(w);
		if (w->heard > 0) {
			start[n] = w->started - w->asked;
			first[n++] = w->heard - w->asked;
		}
	}
	double spawned = median(start, n), heard = median(first, n);
	TELL("sum", ", \"children\": %u, \"right\": %u, \"start_p50_us\": %.1f, \"first_message_p50_us\": %.1f",
	     family.count, right, spawned, heard);
	free(start);
}

static int parent_play(char **argv)
{
	family.host = strcmp(argv[0], "-") == 0 ? NULL : argv[0];
	family.count = (unsigned)strtoul(argv[1], NULL, 10);
	family.at_once = (unsigned)strtoul(argv[2], NULL, 10);
	family.directory = argv[3];
	family.program = program;
	family.all = calloc(family.count, sizeof(*family.all));
	signal(SIGTERM, leave); /* by somebody who has no patience any more: tell what is missing */
	MUST(brood_connect(&me, NULL, BROOD_OPTIONS(.on = BROOD_ON(.any = tell))));
	MUST(brood_sync(me, -1));
	TELL("begun", ", \"children\": %u", family.count);
	fflush(stdout);
	while (family.begun < family.count && family.begun < family.at_once)
		begin();
	MUST(brood_run(me));
	tell_family();
	brood_close(me);
	free(family.all);
	return 0;
}

static void leave_trace(const char *directory, const char *number)
{
	char path[4096];
	snprintf(path, sizeof(path), "%s/%s.%d", directory, number, (int)getpid());
	FILE *file = fopen(path, "wx");
	if (!file || fclose(file) != 0) {
		perror(path);
		exit(1);
	}
}

static unsigned told;

static int hear(const brood_event *e)
{
	(void)e;
	told++;
	return 0;
}

/* The parent said something before we ran; it is the first to speak. */
static int child_play(char **argv)
{
	unsigned number = (unsigned)strtoul(argv[1], NULL, 10);
	leave_trace(argv[0], argv[1]);
	MUST(brood_connect(&me, NULL, BROOD_OPTIONS(.on = BROOD_ON(.message = hear))));
	while (told == 0)
		MUST(brood_process(me, -1));
	MUST(brood_send(brood_parent(me), BROOD_TEXT(argv[1])));
	MUST(brood_sync(me, -1)); /* it was consumed: from here on only our end matters */
	usleep(number % 5 * 20000);
	switch (how_of(number)) {
	case RETURNS:
	case HOWS:
		break;
	case SIGNALS_ITSELF:
		raise(SIGUSR1);
		break;
	case IS_KILLED:
		pause();
		break;
	}
	brood_close(me);
	return (int)(number % 100);
}

/* ---- children that wait ------------------------------------------------------------------------------------------ */

static const char *cause_text(int cause)
{
	static const char *const texts[] = { "none", "exited", "signaled",       "start-failed",
					     "gone", "stolen", "node-restarted", "unreachable" };
	return (size_t)cause < sizeof(texts) / sizeof(*texts) ? texts[cause] : "other";
}

static int tell_exit(const brood_event *e)
{
	TELL("exit", ", \"cause\": \"%s\", \"ended_by\": %d", cause_text(e->exit->cause), e->exit->ended_by);
	fprintf(stderr, "exit: %s\n", e->exit->text);
	return 0;
}

static int one_less(const brood_event *e)
{
	(void)e;
	return --family.count == 0 ? brood_stop(me) : 0;
}

static int waiting_play(char **argv)
{
	family.count = (unsigned)strtoul(argv[1], NULL, 10);
	MUST(brood_connect(&me, NULL, BROOD_OPTIONS(.on = BROOD_ON(.any = tell))));
	for (unsigned i = 0, n = family.count; i < n; i++)
		MUST(brood_spawn(me, NULL, BROOD_ARGV("sleep", "1000"),
				 BROOD_SPAWN(.on = BROOD_ON(.exit = tell_exit, .close = one_less, .any = tell),
					     .host = argv[0], .flags = BROOD_PLAIN)));
	MUST(brood_run(me));
	brood_close(me);
	return 0;
}

/* As JSON wants it. */
static const char *plain(const char *text, char to[512])
{
	size_t n = 0;
	for (; *text && n < 510; text++) {
		if (*text == '"' || *text == '\\')
			to[n++] = '\\';
		to[n++] = *text;
	}
	to[n] = '\0';
	return to;
}

static int tell_text(const brood_event *e)
{
	char text[512], hint[512];
	TELL("error", ", \"name\": \"%s\", \"text\": \"%s; %s\"", e->error->name, plain(e->error->text, text),
	     plain(e->error->hint, hint));
	return 0;
}

static int refused_play(char **argv)
{
	family.count = 1;
	MUST(brood_connect(&me, NULL, BROOD_OPTIONS(.on = BROOD_ON(.any = tell))));
	MUST(brood_spawn(
		me, NULL, BROOD_ARGV(argv[1]),
		BROOD_SPAWN(.on = BROOD_ON(.error = tell_text, .close = one_less, .any = tell), .host = argv[0])));
	MUST(brood_run(me));
	brood_close(me);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct part {
		const char *name;
		int arguments;
		int (*play)(char **argv);
	} parts[] = { { "sink", 1, sink_play },      { "source", 3, source_play }, { "pulse", 2, pulse_play },
		      { "parent", 4, parent_play },  { "child", 2, child_play },   { "waiting", 2, waiting_play },
		      { "refused", 2, refused_play } };
	if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0)
		perror("/proc/self/exe");
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; argc > 1 && i < sizeof(parts) / sizeof(*parts); i++)
		if (strcmp(argv[1], parts[i].name) == 0 && argc == 2 + parts[i].arguments)
			return parts[i].play(argv + 2);
	fprintf(stderr, "crew: see the comment at the top of crew.c\n");
	return 2;
}
