/*
 * ps: `brood ps`, the processes that the broker knows, children below their parents.
 *
 * The broker answers in pages, in order of id; all pages are kept until the table is printed, because the rows point
 * into them. When all are there the rows are linked into a tree by looking up each one's parent. A process whose parent
 * is not in the list (gone, or not ours to see) is a root.
 */
#include "control.pb-c.h"
#include "output.h"
#include "session.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char help[] = "Example:\n"
			   "  brood ps\n"
			   "  brood ps --json | jq -r '.[] | select(.state == \"lost\") | .address'\n"
			   "\n"
			   "Usage: brood ps [--json]\n"
			   "\n"
			   "List the processes that the broker knows and you may see, children below their\n"
			   "parents: address (use it where a name is wanted), names, pid, uid, program, state,\n"
			   "transport, age, and how much waits to be read by it.\n"
			   "\n"
			   "Exit status: 0 listed, 1 failed (the reason is on stderr), 2 wrong arguments.\n";

typedef Brood__Control__Process process;

struct row {
	const process *p;
	struct row *parent;          /* NULL: a root */
	struct row *children, *next; /* in order of id */
};

struct listing {
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
static int add_page(struct listing *l, brood_msg *msg, const Brood__Control__Listing *page)
{
	brood_msg **pages = realloc(l->pages, (l->n_pages + 1) * sizeof *pages);
	if (pages)
		l->pages = pages;
	struct row *rows = realloc(l->rows, (l->n_rows + page->n_process + 1) * sizeof *rows);
	if (rows)
		l->rows = rows;
	if (!pages || !rows) {
		fputs("brood ps: out of memory\n", stderr);
		brood_msg_release(msg);
		return -ENOMEM;
	}
	l->pages[l->n_pages++] = msg;
	for (size_t i = 0; i < page->n_process; i++)
		l->rows[l->n_rows++] = (struct row){ .p = page->process[i] };
	return 0;
}

static int fetch(brood *b, struct listing *l)
{
	Brood__Control__List ask = BROOD__CONTROL__LIST__INIT;
	const Brood__Control__Listing *page;
	do {
		const void *answer;
		brood_msg *msg = NULL;
		int rc = session_ask_broker(b, "ps", &ask.base, &brood__control__listing__descriptor, &msg, &answer);
		if (rc < 0)
			return rc;
		page = answer;
		rc = add_page(l, msg, page);
		if (rc < 0)
			return rc;
		if (page->n_process)
			ask.after = page->process[page->n_process - 1]->id;
	} while (page->more && page->n_process);
	return 0;
}

static int compare(const void *id, const void *row)
{
	uint64_t a = *(const uint64_t *)id, b = ((const struct row *)row)->p->id;
	return a < b ? -1 : a > b;
}

static struct row *find(const struct listing *l, uint64_t id)
{
	return id && l->n_rows ? bsearch(&id, l->rows, l->n_rows, sizeof *l->rows, compare) : NULL;
}

/* From the last row to the first, so that each list of children begins with the smallest id. */
static void link_families(struct listing *l)
{
	for (size_t i = l->n_rows; i-- > 0;) {
		struct row *row = &l->rows[i], *parent = find(l, row->p->parent);
		if (!parent)
			continue;
		row->parent = parent;
		row->next = parent->children;
		parent->children = row;
	}
}

/* ---- for people -------------------------------------------------------------------------------------------------- */

static void print_head(void)
{
	printf("%-24s %-16s %8s %6s  %-16s %-5s %-9s %8s %10s\n", "ADDRESS", "NAME", "PID", "UID", "PROGRAM", "STATE",
	       "TRANSPORT", "AGE", "QUEUED");
}

static void print_row(const process *p, int depth)
{
	char address[64], name[64], title[64], age[OUTPUT_SHORT], queued[OUTPUT_SHORT];
	output_safe(p->name[0] ? p->name : "-", name, sizeof name);
	output_safe(p->title[0] ? p->title : "-", title, sizeof title);
	snprintf(address, sizeof address, "%*s%s", depth * 2, "", p->address);
	printf("%-24s %-16s %8u %6u  %-16s %-5s %-9s %8s %10s\n", address, name, p->pid, p->uid, title, p->state,
	       p->transport, output_age(p->since_ms, age), output_bytes(p->queued, queued));
}

/* A row and, below it, its children; what is deeper than eight is shown as deep as that. */
static void print_family(const struct row *row, int depth)
{
	print_row(row->p, depth);
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

static json_t *row_as_json(const struct row *row)
{
	const process *p = row->p;
	return json_pack("{s:s, s:o, s:s, s:i, s:i, s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "address",
			 p->address, "name", output_json_bytes(p->name, strlen(p->name)), "parent",
			 row->parent ? row->parent->p->address : "", "pid", (int)p->pid, "uid", (int)p->uid, "program",
			 output_json_bytes(p->title, strlen(p->title)), "state", p->state, "transport", p->transport,
			 "age_ms", (json_int_t)p->since_ms, "queued", (json_int_t)p->queued, "frames_in",
			 (json_int_t)p->frames_in, "frames_out", (json_int_t)p->frames_out, "bytes_in",
			 (json_int_t)p->bytes_in, "bytes_out", (json_int_t)p->bytes_out);
}

static int print_json(const struct listing *l)
{
	json_t *all = json_array();
	for (size_t i = 0; i < l->n_rows; i++)
		if (json_array_append_new(all, row_as_json(&l->rows[i])) < 0) {
			json_decref(all);
			return output_json(NULL);
		}
	return output_json(all);
}

static int list(const struct cli *cli, brood *b)
{
	struct listing l = { 0 };
	int rc = fetch(b, &l);
	if (rc == 0)
		link_families(&l);
	if (rc == 0 && cli->json)
		rc = print_json(&l);
	else if (rc == 0)
		print_tree(&l);
	listing_deinit(&l);
	return rc < 0 ? CLI_FAILED : CLI_OK;
}

int cli_ps(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { CLI_OPTIONS, CLI_OPTIONS_END };
	brood *b;
	int c, rc;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if ((rc = cli_option(cli, c, help)) != CLI_GO_ON)
			return rc;
	if (optind < argc)
		return cli_usage("ps", "it takes no arguments");
	if (session_open(cli, &b) < 0)
		return CLI_FAILED;
	rc = list(cli, b);
	brood_close(b);
	return rc;
}
