/*
 * embed_glib: a GLib program (GTK, GStreamer ...) gains a child. brood's descriptor becomes one more source of the main
 * context.
 *
 * The program has a process of its own too, started by g_spawn_async() and watched by g_child_watch_add(). Each side sees
 * the end of its own and of no other.
 */
#include <brood.h>
#include <glib-unix.h>
#include <stdio.h>

#define QUESTIONS 5

struct program {
	GMainLoop *loop;
	brood *b;
	brood_peer *child;
	guint timer;
	unsigned asked, replies, answers; /* a reply is an answer or an error */
	unsigned ended;                   /* of two processes */
};

static void one_ended(struct program *p)
{
	if (++p->ended == 2)
		g_main_loop_quit(p->loop);
}

/* ---- GLib's side ------------------------------------------------------------------------------------------------- */

static gboolean readable(gint fd, GIOCondition condition, gpointer b)
{
	(void)fd;
	(void)condition;
	return brood_process(b, 0) >= 0 ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static void own_exited(GPid pid, gint status, gpointer data)
{
	GError *error = NULL;
	if (g_spawn_check_wait_status(status, &error))
		printf("GLib's process %d did well\n", pid);
	else
		printf("GLib's process %d: %s\n", pid, error->message);
	g_clear_error(&error);
	g_spawn_close_pid(pid);
	one_ended(data);
}

static gboolean spawn_own(struct program *p)
{
	char *argv[] = { "/bin/sh", "-c", "sleep 0.05; exit 3", NULL };
	GPid pid;
	if (!g_spawn_async(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, NULL))
		return FALSE;
	g_child_watch_add(pid, own_exited, p);
	return TRUE;
}

/* ---- brood's side ------------------------------------------------------------------------------------------------ */

static int replied(const brood_event *ev)
{
	struct program *p = ev->data;
	printf("%s\n", ev->msg ? ev->msg->text : ev->error->text);
	p->answers += ev->msg != NULL;
	if (++p->replies < QUESTIONS)
		return 0;
	g_source_remove(p->timer);
	return brood_disconnect(p->child);
}

static gboolean tick(gpointer data)
{
	struct program *p = data;
	if (p->asked == QUESTIONS)
		return G_SOURCE_CONTINUE; /* the last answers are under way */
	if (brood_request(p->child, BROOD_TEXT("tick"), 1000, replied, p) < 0)
		fputs("the child is busy\n", stderr);
	else
		p->asked++;
	return G_SOURCE_CONTINUE;
}

static int gone(const brood_event *ev)
{
	printf("brood's child %s\n", ev->exit->text);
	return 0;
}

static int closed(const brood_event *ev)
{
	one_ended(ev->data);
	return 0;
}

/* ---- main -------------------------------------------------------------------------------------------------------- */

static int run(struct program *p)
{
	if (brood_spawn(p->b, &p->child, BROOD_ARGV("./hello-child"),
			BROOD_SPAWN(.on = BROOD_ON(.exit = gone, .close = closed), .data = p)) < 0 ||
	    !spawn_own(p))
		return 1;
	guint watch = g_unix_fd_add(brood_fd(p->b), G_IO_IN, readable, p->b);
	p->timer = g_timeout_add(20, tick, p);
	g_main_loop_run(p->loop);
	g_source_remove(watch); /* before brood_close(), which closes the descriptor */
	return p->answers < QUESTIONS;
}

int main(void)
{
	struct program p = { .loop = g_main_loop_new(NULL, FALSE) };
	if (brood_connect(&p.b, NULL, NULL) < 0)
		return 1;
	int rc = run(&p);
	brood_close(p.b);
	g_main_loop_unref(p.loop);
	return rc;
}
