/*
 * request: `brood request NAME`, one question and its answer. A request always ends: in a reply, or in an error that
 * says why there is none.
 */
#include "body.h"
#include "output.h"
#include "session.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static const char help[] = "Example:\n"
			   "  brood request resize --timeout 500 'photo.jpg'\n"
			   "\n"
			   "Usage: brood request NAME [--type TYPE] [--timeout MS] [BODY|-]\n"
			   "\n"
			   "Ask NAME (a registered name, or an address as `brood ps` shows it) and print the body\n"
			   "of its reply as it came. BODY is sent as it stands; \"-\", or no BODY, sends standard\n"
			   "input. A terminal is read for \"-\" only.\n"
			   "\n"
			   "  --type TYPE   name of the body's type (default: text)\n"
			   "  --timeout MS  wait this long for the reply (default: 10000)\n"
			   "  --json        print {\"type\", \"body\"}, or {\"error\", \"code\", \"text\", \"hint\"}\n"
			   "                (a body that is no UTF-8 is {\"base64\": \"...\"})\n"
			   "\n"
			   "Exit status: 0 a reply, 1 an error (it is on stderr), 2 wrong arguments.\n";

struct request {
	const char *to, *type;
	long timeout_ms;
	struct body body;
};

static int print_reply(const struct cli *cli, const brood_msg *reply)
{
	if (cli->json) {
		json_t *body = output_json_bytes(reply->body, reply->length);
		return output_json(json_pack("{s:s, s:o}", "type", reply->type, "body", body));
	}
	fwrite(reply->body, 1, reply->length, stdout);
	int cut = reply->length && reply->text[reply->length - 1] != '\n' && isatty(STDOUT_FILENO);
	if (cut) /* keep the prompt off the reply's line; a file gets exactly the body */
		putchar('\n');
	return fflush(stdout) == EOF ? -EIO : 0;
}

static void print_error(const struct cli *cli, const struct brood_error *error)
{
	session_explain("request", error);
	if (cli->json)
		output_json(json_pack("{s:s, s:i, s:s, s:s}", "error", error->name, "code", error->code, "text",
				      error->text, "hint", error->hint));
}

static int ask(brood *b, const struct request *r, brood_msg **reply)
{
	brood_peer *peer;
	int rc = brood_find(b, &peer, r->to, NULL);
	if (rc < 0)
		return rc;
	return brood_call(peer, BROOD_MSG(r->type, r->body.bytes, r->body.length), (int)r->timeout_ms, reply);
}

static int ask_one(const struct cli *cli, const struct request *r)
{
	brood *b;
	brood_msg *reply = NULL;
	if (session_open(cli, &b) < 0)
		return CLI_FAILED;
	int rc = ask(b, r, &reply);
	if (rc < 0)
		print_error(cli, brood_last_error(b));
	else
		rc = print_reply(cli, reply);
	brood_msg_release(reply);
	brood_close(b);
	return rc < 0 ? CLI_FAILED : CLI_OK;
}

int cli_request(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { CLI_OPTIONS,
						 { "type", required_argument, NULL, 't' },
						 { "timeout", required_argument, NULL, 'w' },
						 CLI_OPTIONS_END };
	struct request r = { .type = "text", .timeout_ms = 10000 };
	int c, rc;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 't')
			r.type = optarg;
		else if (c == 'w')
			r.timeout_ms = cli_number(optarg, 1, 1 << 30);
		else if ((rc = cli_option(cli, c, help)) != CLI_GO_ON)
			return rc;
	}
	if (r.timeout_ms < 0)
		return cli_usage("request", "--timeout wants milliseconds, at least 1");
	if (argc - optind < 1 || argc - optind > 2)
		return cli_usage("request", "it takes a name and at most one body");
	r.to = argv[optind];
	rc = body_init(&r.body, argv[optind + 1]);
	if (rc < 0) {
		fprintf(stderr, "brood request: cannot read the body: %s\n", strerror(-rc));
		return CLI_FAILED;
	}
	rc = ask_one(cli, &r);
	body_deinit(&r.body);
	return rc;
}
