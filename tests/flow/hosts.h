/*
 * hosts: several brokers in one test, each as on a host of its own: alpha, beta, gamma. Each has a directory, a
 * configuration file with the others as its peers, and may be stopped, killed and started again. Connections between them
 * can be led through a forwarder that cuts them.
 */
#ifndef HOSTS_H
#define HOSTS_H

#include "leftovers.h"
#include <brood.h>
#include <sys/types.h>

#define HOSTS_MOST 3

struct host {
	char name[16];
	char brood[96];    /* its directory */
	char address[112]; /* for clients: "unix:..." */
	char url[112];     /* for other brokers; "": not dialed by them */
	char config[112];  /* its file */
	char papers[512];  /* lines of it with its certificate */
	char more[512];    /* lines of it besides the peers */
	unsigned knows;    /* bits: whom it has as a peer */
	pid_t pid;         /* 0: not running */
	int log_fd;
};

struct hosts {
	char directory[64];
	unsigned n;
	struct host all[HOSTS_MOST];
	pid_t forwarder; /* 0: none */
	struct leftovers before;
};

#define ALPHA 0
#define BETA 1
#define GAMMA 2

/* Make n of them, all peers of each other, and start none. tls: they dial each other so. */
void hosts_begin(struct hosts *, unsigned n, int tls);
/* Alpha dials beta through a forwarder, and beta does not dial. Before they are started. */
void hosts_forward(struct hosts *);
/* Cut what it forwards; others may come at once. */
void hosts_cut(const struct hosts *);
/* Write the configuration of one, (again). */
void host_configure(struct hosts *, unsigned i);
/* It shows the certificate of that node from now on. */
void host_show(struct host *, const char *whose);
/* Start one and wait until it listens. */
void host_start(struct hosts *, unsigned i);
void hosts_start(struct hosts *);
/* Signal it and wait for its end: the wait status. */
int host_stop(struct hosts *, unsigned i, int signo);
/* How often its log has these words. */
unsigned host_said(const struct hosts *, unsigned i, const char *text);
/* SIGTERM to all, and nothing may be left. */
void hosts_end(struct hosts *);

#endif
