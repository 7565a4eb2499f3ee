/*
 * status: `brood status`, how the broker is.
 */
#include "control.pb-c.h"
#include "output.h"
#include "session.h"
#include <stdio.h>

static const char help[] = "Example:\n"
			   "  brood status\n"
			   "\n"
			   "Usage: brood status [--json]\n"
			   "\n"
			   "Tell how the broker is: its version and age, how many processes it serves, what it\n"
			   "has routed, and what waits in its queues.\n"
			   "\n"
			   "Exit status: 0 it answers, 1 it does not (the reason is on stderr), 2 wrong arguments.\n";

static json_t *as_json(const Brood__Control__Status *s)
{
	return json_pack("{s:s, s:s, s:b, s:i, s:I, s:i, s:I, s:I, s:I, s:I, s:I, s:I}", "node", s->node, "version",
			 s->version, "private", s->private_, "pid", (int)s->pid, "up_ms", (json_int_t)s->up_ms,
			 "processes", (int)s->processes, "frames", (json_int_t)s->frames, "bytes", (json_int_t)s->bytes,
			 "queued", (json_int_t)s->queued, "holds", (json_int_t)s->holds, "refused",
			 (json_int_t)s->refused, "rss_kib", (json_int_t)s->rss_kib);
}

static void print(const Brood__Control__Status *s)
{
	char age[OUTPUT_SHORT], bytes[OUTPUT_SHORT], queued[OUTPUT_SHORT], memory[OUTPUT_SHORT];
	printf("node       %s\n", s->node);
	printf("broker     broodd %s%s, pid %u, up %s\n", s->version, s->private_ ? ", private" : "", s->pid,
	       output_age(s->up_ms, age));
	printf("memory     %s\n", output_bytes(s->rss_kib * 1024, memory));
	printf("processes  %u\n", s->processes);
	printf("routed     %llu frames, %s\n", (unsigned long long)s->frames, output_bytes(s->bytes, bytes));
	printf("queued     %s\n", output_bytes(s->queued, queued));
	printf("holds      %llu senders had to wait\n", (unsigned long long)s->holds);
	printf("refused    %llu connections\n", (unsigned long long)s->refused);
}

static int show(const struct cli *cli, brood *b)
{
	Brood__Control__GetStatus ask = BROOD__CONTROL__GET_STATUS__INIT;
	brood_msg *msg = NULL;
	const void *status;
	if (session_ask_broker(b, "status", &ask.base, &brood__control__status__descriptor, &msg, &status) < 0)
		return CLI_FAILED;
	int rc = 0;
	if (cli->json)
		rc = output_json(as_json(status));
	else
		print(status);
	brood_msg_release(msg);
	return rc < 0 ? CLI_FAILED : CLI_OK;
}

int cli_status(struct cli *cli, int argc, char **argv)
{
	static const struct session_command command = { "status", help, show };
	return session_run(&command, cli, argc, argv);
}
