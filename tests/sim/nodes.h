/*
 * nodes: the hosts of a run, each with a directory of its broker and a configuration that names the others. Most runs have
 * one, which has no configuration.
 */
#ifndef SIM_NODES_H
#define SIM_NODES_H

#define NODES_MOST 3
#define ADDRESS_TEXT 32

struct nodes {
	unsigned n;
	int one_way;      /* the first dials, the others wait for it; else all dial */
	const char *beat; /* as it is configured */
	unsigned boots;   /* how often any host was started */
};

extern struct nodes nodes;

/* Choose nothing, write the configurations and what a host says of its start. n: 1 to NODES_MOST. */
void nodes_begin(unsigned n);
const char *node_name(int node);
const char *node_directory(int node);
const char *node_config(int node);
/* Where /proc says which start of the host this is. */
const char *node_boot_path(int node);
/* It is another one from now on. */
void node_rebooted(int node);
/* Write the configuration with all other nodes but `without`; -1: all. */
void node_configure(int node, int without);

/*
 * What a broker calls a process of another node, as it wrote down: "3.17" on `node` is "65f2a1b0.17" on the node that is
 * returned. The same address and the same node if it is one of its own; -1: it stands for nothing.
 */
int node_of_address(int node, const char *address, char real[ADDRESS_TEXT]);
/* The other way round. 0: `node` has no number for it. */
int node_alias(int node, int other, const char *real, char alias[ADDRESS_TEXT]);

#endif
