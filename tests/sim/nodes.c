/*
 * nodes: see nodes.h. That a message is from whom it seems to be is judged by the file "abroad" of the receiver's broker,
 * because nobody else knows what an alias stands for; a number that changed its meaning would be seen, too.
 */
#include "nodes.h"
#include "file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_TEXT 512u
#define ALIAS_MOST 0xffffffu

struct nodes nodes;

static const char *const names[NODES_MOST] = { "alpha", "beta", "gamma" };
static const char *const directories[NODES_MOST] = { "/run/b", "/run/beta", "/run/gamma" };
static const char *const configs[NODES_MOST] = { "/etc/alpha.conf", "/etc/beta.conf", "/etc/gamma.conf" };
static const char *const boots[NODES_MOST] = { "/boot/alpha", "/boot/beta", "/boot/gamma" };

const char *node_name(int node)
{
	return names[node];
}

const char *node_directory(int node)
{
	return directories[node];
}

const char *node_config(int node)
{
	return configs[node];
}

const char *node_boot_path(int node)
{
	return boots[node];
}

static void put_file(const char *path, const char *text)
{
	int inode = disk_find(path);
	if (inode < 0)
		inode = disk_make(path, S_IFREG | 0600);
	disk_truncate(inode);
	if (disk_write(inode, 0, text, strlen(text)) < 0)
		abort();
}

void node_rebooted(int node)
{
	char text[40];
	snprintf(text, sizeof(text), "%08x-0000-4000-8000-00000000000%d\n", ++nodes.boots, node);
	put_file(boots[node], text);
}

void node_configure(int node, int without)
{
	char text[CONFIG_TEXT];
	size_t n = (size_t)snprintf(text, sizeof(text), "[broker]\nnode = %s\n[links]\nbeat = %s\n", names[node],
				    nodes.beat);
	for (int other = 0; other < (int)nodes.n; other++) {
		if (other == node || other == without)
			continue;
		n += (size_t)snprintf(text + n, sizeof(text) - n, "[peer \"%s\"]\n", names[other]);
		if (!nodes.one_way || node < other)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "url = unix:%s/sock\n", directories[other]);
	}
	put_file(configs[node], text);
}

void nodes_begin(unsigned n)
{
	nodes.n = n;
	nodes.boots = 0;
	for (int node = 0; n > 1 && node < (int)n; node++) {
		node_configure(node, -1);
		node_rebooted(node);
	}
}

static int node_called(const char *name)
{
	for (int node = 0; node < NODES_MOST; node++)
		if (strcmp(names[node], name) == 0)
			return node;
	return -1;
}

struct line { /* of the file */
	unsigned number, epoch;
	int node;
};

/* Whether a line of the file is about this number, or this node's epoch. */
static int look_up(int node, struct line *wanted)
{
	char path[64], text[4096], name[64];
	snprintf(path, sizeof(path), "%s/abroad", directories[node]);
	int inode = disk_find(path);
	ssize_t got = inode < 0 ? 0 : disk_read(inode, 0, text, sizeof(text) - 1);
	text[got] = '\0';
	for (const char *at_one = strchr(text, '\n'); at_one && at_one[1]; at_one = strchr(at_one + 1, '\n')) {
		struct line line;
		if (sscanf(at_one + 1, "%u %63s %x", &line.number, name, &line.epoch) != 3)
			continue;
		line.node = node_called(name);
		if (wanted->number ? line.number == wanted->number
				   : line.node == wanted->node && line.epoch == wanted->epoch) {
			*wanted = line;
			return 1;
		}
	}
	return 0;
}

int node_of_address(int node, const char *address, char real[ADDRESS_TEXT])
{
	struct line line = { .number = (unsigned)strtoul(address, NULL, 16) };
	const char *dot = strchr(address, '.');
	snprintf(real, ADDRESS_TEXT, "%s", address);
	if (!dot || line.number > ALIAS_MOST)
		return node;
	if (!look_up(node, &line))
		return -1;
	snprintf(real, ADDRESS_TEXT, "%x%s", line.epoch, dot);
	return line.node;
}

int node_alias(int node, int other, const char *real, char alias[ADDRESS_TEXT])
{
	struct line line = { .node = other, .epoch = (unsigned)strtoul(real, NULL, 16) };
	const char *dot = strchr(real, '.');
	if (!dot || !look_up(node, &line))
		return 0;
	snprintf(alias, ADDRESS_TEXT, "%x%s", line.number, dot);
	return 1;
}
