/*
 * send: `brood send NAME`, one message. It has succeeded when the receiver's library has taken the message over, which
 * is what brood_sync() waits for; a name that nobody has is a failure at once.
 */
#include "body.h"
#include "output.h"
#include "session.h"
#include <stdio.h>

static const char help[] = "Example:\n"
			   "  brood send resize --type shop.Picture - < picture.pb\n"
			   "\n"
			   "Usage: brood send NAME [--type TYPE] [--timeout MS] [BODY|-]\n"
			   "\n"
			   "Send one message to NAME: a registered name, or an address as `brood ps` shows it.\n"
			   "BODY is sent as it stands; \"-\", or no BODY, sends standard input. A terminal is\n"
			   "read for \"-\" only.\n"
			   "\n"
			   "  --type TYPE   name of the body's type (default: text)\n"
			   "  --timeout MS  give up after this long (default: 10000)\n"
			   "  --json        print {\"to\", \"type\", \"length\"}\n"
			   "\n"
			   "Exit status: 0 received, 1 not received (the reason is on stderr), 2 wrong arguments.\n";

struct send {
	const char *to, *type;
	long timeout_ms;
	struct body body;
};

static int deliver(brood *b, const struct send *s)
{
	brood_peer *peer;
	int rc = brood_find(b, &peer, s->to, NULL);
	if (rc < 0)
		return rc;
	rc = brood_send(peer, BROOD_MSG(s->type, s->body.bytes, s->body.length, .flags = BROOD_BLOCK));
	return rc < 0 ? rc : brood_sync(b, (int)s->timeout_ms);
}

static int report(const struct cli *cli, const struct send *s)
{
	if (!cli->json)
		return CLI_OK;
	json_t *done = json_pack("{s:s, s:s, s:I}", "to", s->to, "type", s->type, "length", (json_int_t)s->body.length);
	return output_json(done) < 0 ? CLI_FAILED : CLI_OK;
}

static int send_one(const struct cli *cli, const struct send *s)
{
	brood *b;
	if (session_open(cli, &b) < 0)
		return CLI_FAILED;
	int rc = deliver(b, s);
	if (rc < 0)
		session_explain("send", brood_last_error(b));
	brood_close(b);
	return rc < 0 ? CLI_FAILED : report(cli, s);
}

int cli_send(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { CLI_OPTIONS,
						 { "type", required_argument, NULL, 't' },
						 { "timeout", required_argument, NULL, 'w' },
						 CLI_OPTIONS_END };
	struct send s = { .type = "text", .timeout_ms = 10000 };
	int c, rc;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 't')
			s.type = optarg;
		else if (c == 'w')
			s.timeout_ms = cli_number(optarg, 1, 1 << 30);
		else if ((rc = cli_option(cli, c, help)) != CLI_GO_ON)
			return rc;
	}
	if (s.timeout_ms < 0)
		return cli_usage("send", "--timeout wants milliseconds, at least 1");
	if (argc - optind < 1 || argc - optind > 2)
		return cli_usage("send", "it takes a name and at most one body");
	s.to = argv[optind];
	rc = body_init(&s.body, argv[optind + 1]);
	if (rc < 0) {
		fprintf(stderr, "brood send: cannot read the body: %s\n", strerror(-rc));
		return CLI_FAILED;
	}
	rc = send_one(cli, &s);
	body_deinit(&s.body);
	return rc;
}
