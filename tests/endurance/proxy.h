/*
 * proxy: between the actors and the broker. It forwards bytes, in pieces and with pauses of its own choice, and cuts
 * connections at any byte. It understands nothing of what it forwards.
 */
#ifndef CHAOS_PROXY_H
#define CHAOS_PROXY_H

#include <stdint.h>
#include <sys/queue.h>

#define PROXY_BUFFER (64u * 1024u)

struct wire;

struct end { /* of a wire, or a listener */
	int fd;
	struct wire *wire; /* NULL: a listener */
	int readable, writable;
	uint64_t close_at_ms; /* 0: not closing */
};

struct flow { /* one direction */
	struct end *from, *to;
	uint32_t at, n;
	uint64_t pause_until_ms;
	uint8_t bytes[PROXY_BUFFER];
};

struct wire {
	LIST_ENTRY(wire) entry;
	struct end client, broker;
	struct flow up, down;
	uint64_t budget; /* bytes until it is cut */
	int tcp, cut, reset;
};

struct proxy {
	int epoll_fd;
	struct end unix_listener, tcp_listener, tls_listener;
	char broker_unix[100];
	uint16_t broker_tcp, broker_tls; /* ports */
	uint64_t dice;
	int gentle; /* no cuts */
	int quiet;  /* neither cut nor pause any more */
	unsigned wires;
	uint64_t cuts, bytes;
	LIST_HEAD(, wire) all;
};

/* Listen at this path and at two loopback ports, which are returned. 0 or -1, with errno. */
int proxy_init(struct proxy *, const char *path, uint16_t *tcp, uint16_t *tls, uint64_t seed);
void proxy_deinit(struct proxy *);

/* Forward what there is, for about so long. */
void proxy_turn(struct proxy *, int timeout_ms);

/* Cut one of them, whichever. */
void proxy_cut_any(struct proxy *);

#endif
