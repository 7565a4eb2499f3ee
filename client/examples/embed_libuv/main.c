/*
 * embed_libuv: a libuv program gains a child. brood's descriptor becomes one more uv_poll_t of the program's loop.
 *
 * The program has a process of its own too, started by uv_spawn(). libuv catches SIGCHLD for it; brood does not care, for
 * it learns of its children by descriptors. Each sees the end of its own and of no other.
 */
#include <brood.h>
#include <inttypes.h>
#include <stdio.h>
#include <uv.h>

#define QUESTIONS 5

struct program {
	uv_loop_t loop;
	uv_poll_t watch;
	uv_timer_t timer;
	uv_process_t own;
	brood *b;
	brood_peer *child;
	unsigned asked, replies, answers; /* a reply is an answer or an error */
};

/* ---- libuv's side ------------------------------------------------------------------------------------------------ */

static void readable(uv_poll_t *watch, int status, int events)
{
	struct program *p = watch->data;
	(void)status;
	(void)events;
	(void)brood_process(p->b, 0);
}

static void own_exited(uv_process_t *own, int64_t code, int signo)
{
	printf("libuv's process %d exited with code %" PRId64 ", signal %d\n", own->pid, code, signo);
	uv_close((uv_handle_t *)own, NULL);
}

static int spawn_own(struct program *p)
{
	char *argv[] = { "sh", "-c", "sleep 0.05; exit 3", NULL };
	uv_process_options_t options = { .file = "/bin/sh", .args = argv, .exit_cb = own_exited };
	return uv_spawn(&p->loop, &p->own, &options);
}

/* ---- brood's side ------------------------------------------------------------------------------------------------ */

static int replied(const brood_event *ev)
{
	struct program *p = ev->data;
	printf("%s\n", ev->msg ? ev->msg->text : ev->error->text);
	p->answers += ev->msg != NULL;
	if (++p->replies < QUESTIONS)
		return 0;
	uv_timer_stop(&p->timer);
	return brood_disconnect(p->child);
}

static void tick(uv_timer_t *timer)
{
	struct program *p = timer->data;
	if (p->asked == QUESTIONS)
		return; /* the last answers are under way */
	if (brood_request(p->child, BROOD_TEXT("tick"), 1000, replied, p) < 0)
		fputs("the child is busy\n", stderr);
	else
		p->asked++;
}

static int gone(const brood_event *ev)
{
	printf("brood's child %s\n", ev->exit->text);
	return 0;
}

/* Its last event, whatever became of it. Without these two nothing of brood keeps the loop running. */
static int closed(const brood_event *ev)
{
	struct program *p = ev->data;
	uv_close((uv_handle_t *)&p->timer, NULL);
	uv_close((uv_handle_t *)&p->watch, NULL);
	return 0;
}

/* ---- main -------------------------------------------------------------------------------------------------------- */

static int begin(struct program *p)
{
	p->watch.data = p->timer.data = p;
	if (brood_spawn(p->b, &p->child, BROOD_ARGV("./hello-child"),
			BROOD_SPAWN(.on = BROOD_ON(.exit = gone, .close = closed), .data = p)) < 0)
		return -1;
	if (uv_poll_init(&p->loop, &p->watch, brood_fd(p->b)) < 0 || uv_timer_init(&p->loop, &p->timer) < 0)
		return -1;
	if (uv_poll_start(&p->watch, UV_READABLE, readable) < 0 || uv_timer_start(&p->timer, tick, 20, 20) < 0)
		return -1;
	return spawn_own(p);
}

int main(void)
{
	struct program p = { 0 };
	if (uv_loop_init(&p.loop) < 0 || brood_connect(&p.b, NULL, NULL) < 0 || begin(&p) < 0)
		return 1;
	uv_run(&p.loop, UV_RUN_DEFAULT); /* until every uv handle is closed */
	brood_close(p.b);
	return uv_loop_close(&p.loop) < 0 || p.answers < QUESTIONS;
}
