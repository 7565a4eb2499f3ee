/*
 * broker: everything that belongs to one running broker, and its loop.
 */
#ifndef BROOD_BROKER_H
#define BROOD_BROKER_H

#include "config.h"
#include "desk.h"
#include "exits.h"
#include "home.h"
#include "identity.h"
#include "life.h"
#include "listener.h"
#include "rendezvous.h"
#include "sessions.h"
#include "vigil.h"
#include "welcome.h"

enum broker_state { BROKER_RUNNING, BROKER_DRAINING, BROKER_DONE };

struct broker {
	struct config *config; /* changes with a reload */
	const struct home *home;
	struct log *log;
	struct event_base *base;
	struct identity identity;
	struct accounts accounts;
	struct policy policy; /* changes with a reload */
	struct registry registry;
	struct router router;
	struct vigil vigil;
	struct life life;
	struct absences absences;
	struct exits exits;
	struct welcome welcome;
	struct control control;
	struct links links;
	struct desk desk;
	struct sessions sessions;
	struct listeners listeners;
	struct rendezvous rendezvous;
	char fifo_address[ADDRESS_TEXT];                    /* "" if there is none */
	struct tls_context *tls;                            /* NULL: no certificate so far */
	struct tls_context *tls_dial;                       /* for other brokers; NULL: no CA so far */
	struct event terminate, interrupt, restart, hangup; /* signals */
	struct event check;                                 /* is our socket still ours? */
	int check_fd;                                       /* its timer */
	struct event idle, drain, grace, settle;            /* timers */
	struct address at_home;                             /* the socket in the directory */
	int inherited;                                      /* sockets that replace it */
	int has_terminal;                                   /* as stderr, from the beginning */
	enum broker_state state;
	int restarting; /* it goes, but another will come */
};

/*
 * Listen as configured, in a locked home. 0, or negative errno with what, why, next in `why`. broker_deinit() also
 * after a failure.
 */
int broker_init(struct broker *, struct config *, const struct home *, struct log *, char *why, size_t n);
/* Until it is told to stop, or idle. */
void broker_run(struct broker *);
void broker_deinit(struct broker *);

#endif
