/*
 * chaos: pairs of processes exchange numbered messages while their broker is killed and their connections are cut.
 *
 *   BROOD_BROKER=build/bin/broodd build/tests/chaos --messages 100000 --seconds 15 [--seed X] [--via WAY]
 *
 * The director starts a broker, a proxy (in this process) and the actors (this program again, with --actor). As long as
 * anybody sends, the broker dies about every second and comes back over the same directory. Named pipes lead past the
 * proxy: what happens to them are the broker's deaths. Then all is quiet, and
 * whatever was accepted has to arrive without any further push: a stream that only a reconnect would free is stuck, and
 * shows as lost.
 */
#include "actor.h"
#include "crew.h"
#include "papers.h"
#include "parent.h"
#include "proxy.h"
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define QUIET_MS 15000u   /* without progress after the last cut: stuck */
#define HANG_MS 30000u    /* the same while chaos reigns */
#define LEAVE_MS 20000u   /* to go home */
#define RESTART_MS 200u   /* the broker is dead for at most so long */
#define ORDERLY_ONE_IN 8u /* deaths that are SIGUSR2 */
#define ORDERLY_MS 5000u
#define LOOK_MS 20u

struct director {
	struct wish wish;
	struct crew crew;
	struct proxy proxy;
	struct stage *stage;
	int stage_fd;
	uint64_t dice, begin_ms, end_ms;
	uint64_t kill_at_ms, restart_at_ms, cut_at_ms;
	uint64_t progress, progress_ms; /* what was done when it last changed */
	uint64_t look_at_ms;
	unsigned running; /* actors */
	uint64_t kills, replaced;
	int hung;
};

struct sum {
	uint64_t sent, delivered, duplicated, reordered, damaged, reported, asked, answered, failed, slowest_ms, away;
	unsigned done;
};

static struct sum sum_up(const struct director *d)
{
	struct sum s = { 0 };
	for (unsigned i = 0; i < wish_actors(&d->wish); i++) {
		const struct actor *a = &d->stage->actors[i];
		s.sent += a->sent;
		s.delivered += a->delivered;
		s.duplicated += a->duplicated;
		s.reordered += a->reordered;
		s.damaged += a->damaged;
		s.reported += a->reported;
		s.asked += a->asked;
		s.answered += a->answered;
		s.failed += a->failed;
		s.away += a->away;
		s.done += a->done != 0;
		if (a->slowest_ms > s.slowest_ms)
			s.slowest_ms = a->slowest_ms;
	}
	return s;
}

static uint64_t goal(const struct director *d)
{
	uint64_t each = d->wish.messages / (2 * d->wish.pairs);
	return each * 2 * d->wish.pairs + (uint64_t)d->wish.families * d->wish.children * CHILD_MESSAGES;
}

/* ---- chaos ------------------------------------------------------------------------------------------------------- */

/* Between half the mean and one and a half. */
static uint64_t some_time(struct director *d, unsigned mean)
{
	return stage_now_ms() + mean / 2 + dice_below(&d->dice, mean + 1);
}

static void kill_broker(struct director *d)
{
	kill(d->crew.broker, SIGKILL);
	waitpid(d->crew.broker, NULL, 0);
	d->crew.broker = 0;
	d->kills++;
}

/* It goes on forwarding meanwhile. */
static void replace_broker(struct director *d)
{
	uint64_t until = stage_now_ms() + ORDERLY_MS;
	kill(d->crew.broker, SIGUSR2);
	while (d->crew.broker && stage_now_ms() < until) {
		proxy_turn(&d->proxy, 1);
		(void)crew_look(&d->crew);
	}
	d->replaced++;
	if (!d->crew.broker)
		return;
	fprintf(stderr, "chaos: SIGUSR2 did not end the broker\n");
	d->crew.crashed++;
	kill_broker(d);
}

static void harm_broker(struct director *d, uint64_t now)
{
	if (!d->crew.broker && now >= d->restart_at_ms) {
		(void)crew_start_broker(&d->crew);
		d->kill_at_ms = some_time(d, d->wish.kill_ms);
	} else if (d->crew.broker && d->wish.kill_ms && now >= d->kill_at_ms) {
		if (dice_below(&d->dice, ORDERLY_ONE_IN) == 0)
			replace_broker(d);
		else
			kill_broker(d);
		d->restart_at_ms = stage_now_ms() + dice_below(&d->dice, RESTART_MS);
	}
}

static void harm_connections(struct director *d, uint64_t now)
{
	if (!d->wish.cut_ms || now < d->cut_at_ms)
		return;
	proxy_cut_any(&d->proxy);
	d->cut_at_ms = some_time(d, d->wish.cut_ms);
}

static void see_progress(struct director *d, uint64_t now, uint64_t patience)
{
	struct sum s = sum_up(d);
	uint64_t progress = s.sent + s.delivered + s.answered + s.done;
	if (progress != d->progress)
		d->progress_ms = now;
	d->progress = progress;
	d->hung |= now - d->progress_ms > patience;
}

static int all_sent(const struct director *d)
{
	return sum_up(d).sent >= goal(d);
}

static int all_done(const struct director *d)
{
	return sum_up(d).done == wish_actors(&d->wish);
}

/* Looked at now and then only: it is a system call for each of them. */
static int can_go_on(struct director *d)
{
	uint64_t now = stage_now_ms();
	if (now >= d->look_at_ms) {
		d->look_at_ms = now + LOOK_MS;
		d->running = crew_look(&d->crew);
	}
	return !d->hung && d->running == wish_actors(&d->wish);
}

static void reign(struct director *d)
{
	d->progress_ms = stage_now_ms();
	while (can_go_on(d) && !all_sent(d)) {
		uint64_t now = stage_now_ms();
		proxy_turn(&d->proxy, 1);
		harm_broker(d, now);
		harm_connections(d, now);
		see_progress(d, now, HANG_MS);
	}
}

static void calm_down(struct director *d)
{
	d->proxy.quiet = 1;
	if (!d->crew.broker)
		(void)crew_start_broker(&d->crew);
	d->progress_ms = stage_now_ms();
	while (can_go_on(d) && !all_done(d)) {
		proxy_turn(&d->proxy, 1);
		see_progress(d, stage_now_ms(), QUIET_MS);
	}
	d->end_ms = stage_now_ms();
}

static void go_home(struct director *d)
{
	uint64_t until = stage_now_ms() + LEAVE_MS;
	d->stage->finish = 1;
	while (crew_look(&d->crew) > 0 && stage_now_ms() < until)
		proxy_turn(&d->proxy, 1);
	if (crew_look(&d->crew) == 0)
		return;
	fprintf(stderr, "chaos: %u actors do not leave\n", crew_look(&d->crew));
	d->hung = 1;
}

/* ---- the result -------------------------------------------------------------------------------------------------- */

static void tell_troubles(const struct director *d)
{
	for (unsigned i = 0; i < wish_actors(&d->wish); i++) {
		const struct actor *a = &d->stage->actors[i];
		const struct actor *other = i < 2 * d->wish.pairs ? &d->stage->actors[i ^ 1] : a;
		if (*a->trouble)
			fprintf(stderr, "chaos: actor %u (%s): %s\n", i, a->address, a->trouble);
		else if (!a->done)
			fprintf(stderr,
				"chaos: actor %u (%s) waits: sent %" PRIu64 ", received %" PRIu64 " of %" PRIu64
				" sent to it, answered %" PRIu64 " of %" PRIu64 "\n",
				i, a->address, a->sent, a->delivered, other->sent, a->answered, a->asked);
	}
}

static void tell_text(const struct director *d, const struct sum *s, uint64_t lost, int failed)
{
	printf("seed        %" PRIu64 "\npairs       %u\nsent        %" PRIu64 "\ndelivered   %" PRIu64
	       "\nduplicated  %" PRIu64 "\nreordered   %" PRIu64 "\ndamaged     %" PRIu64 "\nreported    %" PRIu64
	       "\nlost        %" PRIu64 "\nrequests    %" PRIu64 "\nanswered    %" PRIu64 "\nslowest     %" PRIu64
	       " ms\nkills       %" PRIu64 "\nreplaced    %" PRIu64 "\ncuts        %" PRIu64 "\naway        %" PRIu64
	       "\nforwarded   %" PRIu64 " MiB\ntook        %" PRIu64 " ms\nresult      %s\n",
	       d->wish.seed, d->wish.pairs, s->sent, s->delivered, s->duplicated, s->reordered, s->damaged, s->reported,
	       lost, s->asked, s->answered, s->slowest_ms, d->kills, d->replaced, d->proxy.cuts, s->away,
	       d->proxy.bytes >> 20, d->end_ms - d->begin_ms, failed ? "FAILED" : "ok");
}

static void tell_json(const struct director *d, const struct sum *s, uint64_t lost, int failed)
{
	printf("{\"seed\":%" PRIu64 ",\"pairs\":%u,\"sent\":%" PRIu64 ",\"delivered\":%" PRIu64
	       ",\"duplicated\":%" PRIu64 ",\"reordered\":%" PRIu64 ",\"damaged\":%" PRIu64 ",\"reported\":%" PRIu64
	       ",\"lost\":%" PRIu64 ",\"requests\":%" PRIu64 ",\"answered\":%" PRIu64 ",\"slowest_ms\":%" PRIu64
	       ",\"kills\":%" PRIu64 ",\"replaced\":%" PRIu64 ",\"cuts\":%" PRIu64 ",\"away\":%" PRIu64
	       ",\"forwarded_bytes\":%" PRIu64 ",\"took_ms\":%" PRIu64 ",\"hung\":%s,\"ok\":%s}\n",
	       d->wish.seed, d->wish.pairs, s->sent, s->delivered, s->duplicated, s->reordered, s->damaged, s->reported,
	       lost, s->asked, s->answered, s->slowest_ms, d->kills, d->replaced, d->proxy.cuts, s->away,
	       d->proxy.bytes, d->end_ms - d->begin_ms, d->hung ? "true" : "false", failed ? "false" : "true");
}

/* 1 if it failed. */
static int tell(const struct director *d)
{
	struct sum s = sum_up(d);
	uint64_t known = s.delivered + s.reported, lost = s.sent > known ? s.sent - known : 0;
	int failed = d->hung || d->crew.crashed || lost || s.duplicated || s.reordered || s.damaged || s.reported ||
		     s.failed || s.answered != s.asked || s.sent != goal(d);
	for (unsigned i = 0; i < wish_actors(&d->wish); i++)
		failed |= *d->stage->actors[i].trouble != 0;
	if (failed)
		tell_troubles(d);
	if (d->wish.json)
		tell_json(d, &s, lost, failed);
	else
		tell_text(d, &s, lost, failed);
	return failed;
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

static int complain(const char *what)
{
	fprintf(stderr, "chaos: %s: %s\n", what, strerror(errno));
	return -1;
}

static uint16_t port_of(const char *address)
{
	const char *colon = strrchr(address, ':');
	return (uint16_t)(colon ? atoi(colon + 1) : 0);
}

static int set_stage(struct director *d)
{
	uint16_t tcp = 0, tls = 0;
	char path[100];
	d->stage = stage_make(wish_actors(&d->wish), &d->stage_fd);
	if (!d->stage)
		return complain("shared memory");
	if (crew_init(&d->crew, d->wish.vias & VIA_TLS) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/proxy", d->crew.directory);
	if (proxy_init(&d->proxy, path, &tcp, &tls, d->wish.seed ^ 1) < 0)
		return complain("proxy");
	d->stage->wish = d->wish;
	d->proxy.gentle = d->wish.cut_ms == 0;
	snprintf(d->proxy.broker_unix, sizeof(d->proxy.broker_unix), "%s", d->crew.broker_unix);
	d->proxy.broker_tcp = port_of(d->crew.broker_tcp);
	d->proxy.broker_tls = port_of(d->crew.broker_tls);
	snprintf(d->stage->proxy_unix, sizeof(d->stage->proxy_unix), "unix:%s", path);
	snprintf(d->stage->proxy_tcp, sizeof(d->stage->proxy_tcp), "tcp://127.0.0.1:%u", tcp);
	snprintf(d->stage->proxy_tls, sizeof(d->stage->proxy_tls), "tls://127.0.0.1:%u", tls);
	if (*d->crew.broker_tls)
		papers_show(); /* to the actors, and their children */
	snprintf(d->stage->fifo, sizeof(d->stage->fifo), "fifo:%s", d->crew.directory);
	snprintf(d->stage->token_file, sizeof(d->stage->token_file), "%s/cookie", d->crew.directory);
	return 0;
}

/* The cookie is read once, when an actor greets: it has to be there. */
static int await_broker(struct director *d)
{
	for (int i = 0; i < 1000 && access(d->crew.broker_unix, F_OK) < 0; i++)
		usleep(5000);
	return access(d->crew.broker_unix, F_OK);
}

static int open_curtain(struct director *d)
{
	d->begin_ms = d->end_ms = stage_now_ms();
	if (crew_start_broker(&d->crew) < 0 || await_broker(d) < 0)
		return complain("broker");
	d->kill_at_ms = some_time(d, d->wish.kill_ms);
	d->cut_at_ms = some_time(d, d->wish.cut_ms);
	return crew_start_actors(&d->crew, wish_actors(&d->wish), d->stage_fd) < 0 ? complain("actors") : 0;
}

static int direct(const struct wish *wish)
{
	struct director d = { .wish = *wish, .dice = wish->seed };
	if (set_stage(&d) < 0 || open_curtain(&d) < 0)
		return 2;
	reign(&d);
	calm_down(&d);
	go_home(&d);
	int failed = tell(&d);
	proxy_deinit(&d.proxy);
	crew_deinit(&d.crew, failed && d.wish.keep);
	return failed;
}

/* ---- what is asked for ------------------------------------------------------------------------------------------- */

struct arguments {
	struct wish wish;
	int actor, stage, child;
};

static int take_via(struct wish *w, const char *text)
{
	static const char *const names[] = { [VIA_UNIX] = "unix",
					     [VIA_TCP] = "tcp",
					     [VIA_FIFO] = "fifo",
					     [VIA_TLS & VIA_ALL] = "tls",
					     [VIA_ALL] = "all" };
	for (unsigned i = 1; i < sizeof(names) / sizeof(*names); i++)
		if (names[i] && strcmp(text, names[i]) == 0)
			return w->vias = i, 0;
	return -1;
}

static int take(struct arguments *a, int flag)
{
	struct wish *w = &a->wish;
	unsigned long long n = optarg ? strtoull(optarg, NULL, 10) : 0;
	switch (flag) {
	case 'm':
		w->messages = n;
		return 0;
	case 's':
		w->seconds = (unsigned)n;
		return 0;
	case 'x':
		w->seed = n;
		return 0;
	case 'v':
		return take_via(w, optarg);
	case 'p':
		w->pairs = (unsigned)n;
		return n > 0 && n <= PAIRS_MOST ? 0 : -1;
	case 'k':
		w->kill_ms = (unsigned)n;
		return 0;
	case 'c':
		w->cut_ms = (unsigned)n;
		return 0;
	case 'j':
		return w->json = 1, 0;
	case 'K':
		return w->keep = 1, 0;
	case 'A':
		return a->actor = (int)n, 0;
	case 'C':
		return a->child = 1, 0;
	case 'f':
		w->families = (unsigned)n;
		return n <= PAIRS_MOST ? 0 : -1;
	case 'n':
		w->children = (unsigned)n;
		return 0;
	case 'S':
		return a->stage = (int)n, 0;
	default:
		return -1;
	}
}

static int parse(struct arguments *a, int argc, char **argv)
{
	static const struct option options[] = {
		{ "messages", 1, NULL, 'm' }, { "seconds", 1, NULL, 's' }, { "seed", 1, NULL, 'x' },
		{ "via", 1, NULL, 'v' },      { "pairs", 1, NULL, 'p' },   { "kill-ms", 1, NULL, 'k' },
		{ "cut-ms", 1, NULL, 'c' },   { "json", 0, NULL, 'j' },    { "keep", 0, NULL, 'K' },
		{ "actor", 1, NULL, 'A' },    { "stage", 1, NULL, 'S' },   { "families", 1, NULL, 'f' },
		{ "children", 1, NULL, 'n' }, { "child", 0, NULL, 'C' },   { NULL, 0, NULL, 0 },
	};
	int flag;
	while ((flag = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (take(a, flag) < 0)
			return -1;
	return optind == argc ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct arguments a = { .wish = { .messages = 100000,
					 .seconds = 10,
					 .seed = stage_now_ms() ^ (uint64_t)getpid() << 20,
					 .pairs = 16,
					 .families = 4,
					 .children = 20,
					 .vias = VIA_ALL,
					 .kill_ms = 1000,
					 .cut_ms = 100 },
			       .actor = -1 };
	if (parse(&a, argc, argv) < 0) {
		fprintf(stderr, "usage: chaos [--messages N] [--seconds S] [--seed X] [--via unix|tcp|fifo|tls|all] "
				"[--pairs P] [--families F]\n"
				"             [--children N] [--kill-ms MEAN] [--cut-ms MEAN] [--json] [--keep]\n");
		return 2;
	}
	if (a.child)
		return child_play();
	if (a.actor < 0)
		return direct(&a.wish);
	struct stage *stage = stage_open(a.stage);
	if (!stage)
		return 2;
	int is_parent = (unsigned)a.actor >= 2 * stage->wish.pairs;
	return is_parent ? parent_play(stage, (unsigned)a.actor) : actor_play(stage, (unsigned)a.actor);
}
