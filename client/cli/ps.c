/*
 * ps: `brood ps`, the processes that the broker knows and those of the nodes that it is linked with, children below their
 * parents.
 *
 * Each node's broker answers in pages, in order of id; all pages are kept until the table is printed, because the rows
 * point into them. When all are there the rows are linked into a tree by looking up each one's parent, by node and id. A
 * process whose parent is not in the list (gone, or not ours to see) is a root.
 */
#include "address.h"
#include "census.h"
#include "output.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] = "Example:\n"
			   "  brood ps\n"
			   "  brood ps --json | jq -r '.[] | select(.state == \"lost\") | .address'\n"
			   "\n"
			   "Usage: brood ps [--here] [--json]\n"
			   "\n"
			   "List the processes that the broker knows and you may see, and those of the nodes that it\n"
			   "is linked with that may be seen from here, children below their parents: address (use\n"
			   "it where a name is wanted), names, pid, uid, program, state, transport, age, and how\n"
			   "much waits to be read by it. A node that does not answer is named on stderr.\n"
			   "\n"
			   "  --here  of this node only\n"
			   "\n"
			   "Exit status: 0 listed, 1 failed (the reason is on stderr), 2 wrong arguments.\n";

typedef Brood__Control__Process process;

struct row {
	const process *p;
	const char *node;            /* "": this one */
	struct row *parent;          /* NULL: a root */
	struct row *children, *next; /* in order */
};

struct listing {
	const char *here; /* what other nodes call this one */
	const char *node; /* who is being asked; "": this one */
	struct row *rows;
	size_t n_rows;
	brood_msg **pages; /* the rows point into these */
	size_t n_pages;
};

static void listing_deinit(struct listing *l)
{
	for (size_t i = 0; i < l->n_pages; i++)
		brood_msg_release(l->pages[i]);
	free(l->pages);
	free(l->rows);
}

/* Take a page over. Its processes come behind those that are there, in order of id. */
static int add_page(void *data, brood_msg *msg, const Brood__Control__Listing *page)
{
	struct listing *l = data;
	brood_msg **pages = realloc(l->pages, (l->n_pages + 1) * sizeof *pages);
	if (pages)
		l->pages = pages;
	struct row *rows = realloc(l->rows, (l->n_rows + page->n_process + 1) * sizeof *rows);
	if (rows)
		l->rows = rows;
	if (!pages || !rows) {
		brood_msg_release(msg);
		return -ENOMEM;
	}
	l->pages[l->n_pages++] = msg;
	for (size_t i = 0; i < page->n_process; i++)
		l->rows[l->n_rows++] = (struct row){ .p = page->process[i], .node = l->node };
	return 0;
}

/* Our own must answer; of others it is said if they do not. */
static int add_node(brood *b, struct listing *l, const char *node)
{
	l->node = node;
	int rc = census_processes(b, node, add_page, l);
	if (rc == 0)
		return 0;
	if (rc == -ENOMEM) {
		fputs("brood ps: out of memory\n", stderr);
		return rc;
	}
	if (*node)
		fprintf(stderr, "brood ps: %s is left out: %s\n", node, brood_last_error(b)->text);
	else
		session_explain("ps", brood_last_error(b));
	return *node ? 0 : rc;
}

/* What this one is called, and unless it is alone, the others behind it, in order of their names. */
static int add_nodes(brood *b, struct listing *l, const Brood__Control__Nodes *nodes, int here)
{
	int rc = 0;
	for (size_t i = 0; i < nodes->n_node; i++)
		if (strcmp(nodes->node[i]->state, "here") == 0)
			l->here = nodes->node[i]->name;
	for (size_t i = 0; i < nodes->n_node && rc == 0 && !here; i++)
		if (strcmp(nodes->node[i]->state, "up") == 0)
			rc = add_node(b, l, nodes->node[i]->name);
	return rc;
}

/* ---- families ---------------------------------------------------------------------------------------------------- */

struct key {
	const char *node;
	uint64_t id;
};

static int compare_keys(const struct key *a, const struct key *b)
{
	int order = strcmp(a->node, b->node);
	return order ? order : a->id < b->id ? -1 : a->id > b->id;
}

static int compare_rows(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	return compare_keys(&(struct key){ x->node, x->p->id }, &(struct key){ y->node, y->p->id });
}

static int compare(const void *key, const void *row)
{
	const struct row *r = row;
	return compare_keys(key, &(struct key){ r->node, r->p->id });
}

static struct row *find(const struct listing *l, struct key key)
{
	return key.id && l->n_rows ? bsearch(&key, l->rows, l->n_rows, sizeof *l->rows, compare) : NULL;
}

/* Its parent is of the same node, or said to be of another: "NODE/ADDRESS". */
static struct row *find_parent(const struct listing *l, const struct row *row)
{
	const char *address = row->p->parent_address, *slash = strchr(address, '/');
	char node[128];
	struct key key = { node, 0 };
	if (!slash)
		return find(l, (struct key){ row->node, row->p->parent });
	snprintf(node, sizeof node, "%.*s", (int)(slash - address), address);
	if (strcmp(node, l->here) == 0)
		node[0] = '\0';
	return id_parse(slash + 1, &key.id) == 0 ? find(l, key) : NULL;
}

/* From the last row to the first, so that each list of children begins with the first. */
static void link_families(struct listing *l)
{
	if (l->n_rows)
		qsort(l->rows, l->n_rows, sizeof *l->rows, compare_rows);
	for (size_t i = l->n_rows; i-- > 0;) {
		struct row *row = &l->rows[i], *parent = find_parent(l, row);
		if (!parent)
			continue;
		row->parent = parent;
		row->next = parent->children;
		parent->children = row;
	}
}

/* As it is called from here. */
static const char *address_of(const struct row *row, char to[160])
{
	snprintf(to, 160, "%s%s%s", row->node, *row->node ? "/" : "", row->p->address);
	return to;
}

/* ---- for people -------------------------------------------------------------------------------------------------- */

static void print_head(void)
{
	printf("%-24s %-16s %8s %6s  %-16s %-5s %-9s %8s %10s\n", "ADDRESS", "NAME", "PID", "UID", "PROGRAM", "STATE",
	       "TRANSPORT", "AGE", "QUEUED");
}

static void print_row(const struct row *row, int depth)
{
	const process *p = row->p;
	char whole[160], address[200], name[64], title[64], age[OUTPUT_SHORT], queued[OUTPUT_SHORT];
	output_safe(p->name[0] ? p->name : "-", name, sizeof name);
	output_safe(p->title[0] ? p->title : "-", title, sizeof title);
	snprintf(address, sizeof address, "%*s%s", depth * 2, "", address_of(row, whole));
	printf("%-24s %-16s %8u %6u  %-16s %-5s %-9s %8s %10s\n", address, name, p->pid, p->uid, title, p->state,
	       p->transport, output_age(p->since_ms, age), output_bytes(p->queued, queued));
}

/* A row and, below it, its children; what is deeper than eight is shown as deep as that. */
static void print_family(const struct row *row, int depth)
{
	print_row(row, depth);
	for (const struct row *child = row->children; child; child = child->next)
		print_family(child, depth < 8 ? depth + 1 : depth);
}

static void print_tree(const struct listing *l)
{
	print_head();
	for (size_t i = 0; i < l->n_rows; i++)
		if (!l->rows[i].parent)
			print_family(&l->rows[i], 0);
}

/* ---- for programs ------------------------------------------------------------------------------------------------ */

static json_t *row_as_json(const struct row *row, const char *here)
{
	const process *p = row->p;
	char address[160], parent[160];
	return json_pack("{s:s, s:o, s:s, s:i, s:i, s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "address",
			 address_of(row, address), "name", output_json_bytes(p->name, strlen(p->name)), "parent",
			 row->parent ? address_of(row->parent, parent) : "", "pid", (int)p->pid, "uid", (int)p->uid,
			 "program", output_json_bytes(p->title, strlen(p->title)), "state", p->state, "transport",
			 p->transport, "age_ms", (json_int_t)p->since_ms, "queued", (json_int_t)p->queued, "frames_in",
			 (json_int_t)p->frames_in, "frames_out", (json_int_t)p->frames_out, "bytes_in",
			 (json_int_t)p->bytes_in, "bytes_out", (json_int_t)p->bytes_out, "node",
			 *row->node ? row->node : here);
}

static int print_json(const struct listing *l)
{
	json_t *all = json_array();
	for (size_t i = 0; i < l->n_rows; i++)
		if (json_array_append_new(all, row_as_json(&l->rows[i], l->here)) < 0) {
			json_decref(all);
			return output_json(NULL);
		}
	return output_json(all);
}

static int print(const struct cli *cli, struct listing *l)
{
	link_families(l);
	if (cli->json)
		return print_json(l);
	print_tree(l);
	return 0;
}

static int list(const struct cli *cli, brood *b, int here)
{
	struct listing l = { .here = "", .node = "" };
	const Brood__Control__Nodes *nodes = NULL;
	brood_msg *msg = NULL;
	int rc = add_node(b, &l, "");
	if (rc == 0 && census_nodes(b, &msg, &nodes) == 0)
		rc = add_nodes(b, &l, nodes, here);
	else if (rc == 0)
		fprintf(stderr, "brood ps: other nodes are left out: %s\n", brood_last_error(b)->text);
	if (rc == 0)
		rc = print(cli, &l);
	listing_deinit(&l);
	brood_msg_release(msg);
	return rc < 0 ? CLI_FAILED : CLI_OK;
}

int cli_ps(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { CLI_OPTIONS, { "here", no_argument, NULL, 'H' }, CLI_OPTIONS_END };
	brood *b;
	int c, rc, here = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (c == 'H')
			here = 1;
		else if ((rc = cli_option(cli, c, help)) != CLI_GO_ON)
			return rc;
	if (optind < argc)
		return cli_usage("ps", "it takes no arguments");
	if (session_open(cli, &b) < 0)
		return CLI_FAILED;
	rc = list(cli, b, here);
	brood_close(b);
	return rc;
}
