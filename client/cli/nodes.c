/*
 * nodes: `brood nodes`, the nodes that the broker is linked with.
 */
#include "census.h"
#include "output.h"
#include <stdio.h>
#include <string.h>

static const char help[] = "Example:\n"
			   "  brood nodes\n"
			   "\n"
			   "Usage: brood nodes [--json]\n"
			   "\n"
			   "List this node and those that its broker is linked with, or should be, as its\n"
			   "configuration has them: name, state (here, up, connecting, down), since when, how many\n"
			   "of its processes somebody here has to do with (here: processes of this node), where it\n"
			   "is dialed (-: it dials us), and what failed last.\n"
			   "\n"
			   "Exit status: 0 listed, 1 failed (the reason is on stderr), 2 wrong arguments.\n";

static void print(const Brood__Control__Nodes *all)
{
	char age[OUTPUT_SHORT], url[200], error[256];
	printf("%-16s %-10s %8s %9s  %-32s %s\n", "NODE", "STATE", "SINCE", "PROCESSES", "URL", "ERROR");
	for (size_t i = 0; i < all->n_node; i++) {
		const Brood__Control__Node *n = all->node[i];
		output_safe(*n->url ? n->url : "-", url, sizeof url);
		output_safe(*n->error ? n->error : "-", error, sizeof error);
		printf("%-16s %-10s %8s %9u  %-32s %s\n", n->name, n->state, output_age(n->since_ms, age), n->processes,
		       url, error);
	}
}

static json_t *node_as_json(const Brood__Control__Node *n)
{
	return json_pack("{s:s, s:s, s:I, s:i, s:s, s:o}", "name", n->name, "state", n->state, "since_ms",
			 (json_int_t)n->since_ms, "processes", (int)n->processes, "url", n->url, "error",
			 output_json_bytes(n->error, strlen(n->error)));
}

static int print_json(const Brood__Control__Nodes *all)
{
	json_t *nodes = json_array();
	for (size_t i = 0; i < all->n_node; i++)
		if (json_array_append_new(nodes, node_as_json(all->node[i])) < 0) {
			json_decref(nodes);
			return output_json(NULL);
		}
	return output_json(nodes);
}

static int list(const struct cli *cli, brood *b)
{
	const Brood__Control__Nodes *all;
	brood_msg *msg;
	if (census_nodes(b, &msg, &all) < 0) {
		session_explain("nodes", brood_last_error(b));
		return CLI_FAILED;
	}
	int rc = cli->json ? print_json(all) : 0;
	if (!cli->json)
		print(all);
	brood_msg_release(msg);
	return rc < 0 ? CLI_FAILED : CLI_OK;
}

int cli_nodes(struct cli *cli, int argc, char **argv)
{
	static const struct session_command command = { "nodes", help, list };
	return session_run(&command, cli, argc, argv);
}
