/*
 * cert: `brood cert`, the keys and certificates that tls:// needs, without learning a larger tool.
 *
 * What is done with OpenSSL is in a file that is loaded here (see tls_load.h), so that no other command starts slower for
 * it. A table of verbs; each reads its arguments and makes one call.
 */
#include "cli.h"
#include "error.h"
#include "tls_load.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DAYS 365u
#define CA_DAYS 3650u

static const char help[] =
	"Example:\n"
	"  brood cert ca ~/tls                                    an authority of our own\n"
	"  brood cert server --name broker.example,10.0.0.1 ~/tls\n"
	"  brood cert client alice ~/tls\n"
	"\n"
	"Usage: brood cert ca DIR\n"
	"       brood cert server --name HOST[,HOST...] [DIR]   for broodd --tls-cert, --tls-key\n"
	"       brood cert node NAME [DIR]                      for a broker linked with others\n"
	"       brood cert client USER[@NODE] [DIR]             for BROOD_TLS_CERT, BROOD_TLS_KEY\n"
	"       brood cert revoke FILE [DIR]                    enter it in DIR/ca.crl\n"
	"       brood cert show FILE\n"
	"\n"
	"DIR is the authority's directory (default: this one), with ca.crt, which everybody needs,\n"
	"ca.crl for broodd --tls-crl, and ca.key, which nobody else may see. What is made goes there\n"
	"too, as NAME.crt and NAME.key. Nothing is overwritten.\n"
	"\n"
	"USER is a user of the broker's host. With @NODE the certificate counts at that node only.\n"
	"\n"
	"  --name HOST,...  names and addresses under which clients reach a server\n"
	"  --days N         how long it is valid (default: 365, of an authority 3650)\n"
	"\n"
	"Exit status: 0 done, 1 failed, 2 wrong arguments.\n";

struct call {
	const struct tls_api *tls;
	unsigned days; /* 0: the default */
	const char *name, *who, *directory;
};

static int failed(const struct tls_fault *why)
{
	const char *hint = error_reason(why->name)->hint;
	fprintf(stderr, "brood cert: %s\n", why->text);
	if (hint[0] && strcmp(why->name, "argument") != 0)
		fprintf(stderr, "  %s\n", hint);
	return CLI_FAILED;
}

static int made(const char *base)
{
	printf("%s.crt\n%s.key\n", base, base);
	return CLI_OK;
}

static int make_ca(const struct call *c)
{
	struct tls_fault why;
	if (c->tls->make_ca(c->who, c->days ? c->days : CA_DAYS, &why) < 0)
		return failed(&why);
	printf("%s/ca.crt\n%s/ca.key\n%s/ca.crl\n", c->who, c->who, c->who);
	return CLI_OK;
}

static int make(const struct call *c, enum certify_role role, const char *names)
{
	struct certify_order order = { role, c->directory, names, c->days ? c->days : DAYS };
	struct tls_fault why;
	char base[PATH_MAX];
	return c->tls->certify(&order, base, &why) < 0 ? failed(&why) : made(base);
}

static int make_server(const struct call *c)
{
	return make(c, CERTIFY_SERVER, c->name);
}

static int make_node(const struct call *c)
{
	return make(c, CERTIFY_NODE, c->who);
}

static int make_client(const struct call *c)
{
	return make(c, CERTIFY_CLIENT, c->who);
}

static int revoke_one(const struct call *c)
{
	struct tls_fault why;
	if (c->tls->revoke(c->directory, c->who, &why) < 0)
		return failed(&why);
	printf("%s/ca.crl\n", c->directory);
	return CLI_OK;
}

static int show(const struct call *c)
{
	struct tls_fault why;
	return c->tls->show(c->who, stdout, &why) < 0 ? failed(&why) : CLI_OK;
}

static const struct verb {
	const char *name;
	int (*run)(const struct call *);
	int takes_who, takes_directory, takes_name; /* behind it */
	const char *wants;
} verbs[] = {
	{ "ca", make_ca, 1, 0, 0, "ca wants a directory" },
	{ "server", make_server, 0, 1, 1, "server wants --name HOST, and at most a directory" },
	{ "node", make_node, 1, 1, 0, "node wants a name, and at most a directory" },
	{ "client", make_client, 1, 1, 0, "client wants USER or USER@NODE, and at most a directory" },
	{ "revoke", revoke_one, 1, 1, 0, "revoke wants a certificate's file, and at most a directory" },
	{ "show", show, 1, 0, 0, "show wants a file" },
};

static const struct verb *find(const char *name)
{
	for (size_t i = 0; name && i < sizeof verbs / sizeof *verbs; i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

static int run(const struct verb *verb, struct call *c, int argc, char **argv)
{
	struct tls_fault why;
	int n = argc - verb->takes_who;
	if (n < 0 || n > verb->takes_directory || (c->name != NULL) != verb->takes_name)
		return cli_usage("cert", verb->wants);
	c->who = verb->takes_who ? argv[0] : NULL;
	c->directory = n == 1 ? argv[verb->takes_who] : ".";
	c->tls = tls_load(&why);
	return c->tls ? verb->run(c) : failed(&why);
}

int cli_cert(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		CLI_OPTIONS,
		{ "name", required_argument, NULL, 'n' },
		{ "days", required_argument, NULL, 'd' },
		CLI_OPTIONS_END,
	};
	struct call call = { 0 };
	int c, rc;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'n') {
			call.name = optarg;
		} else if (c == 'd') {
			long days = cli_number(optarg, 1, 36500);
			if (days < 0)
				return cli_usage("cert", "--days wants 1 to 36500");
			call.days = (unsigned)days;
		} else if ((rc = cli_option(cli, c, help)) != CLI_GO_ON) {
			return rc;
		}
	}
	const struct verb *verb = find(argv[optind]);
	if (!verb)
		return cli_usage("cert", "it wants one of ca, server, node, client, revoke, show");
	return run(verb, &call, argc - optind - 1, argv + optind + 1);
}
