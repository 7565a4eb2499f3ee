/*
 * inquiry: a watched name that has a node's in front: one of ours that somebody of another node watches, or one of another
 * node (or, written in full, of this) that one of ours does.
 */
#ifndef BROOD_INQUIRY_H
#define BROOD_INQUIRY_H

#include "router.h"
#include "users.h"

struct node;
struct topic;

struct inquiry {
	struct process *watcher;
	struct node *node;   /* whose name it is; NULL: this one's */
	struct topic *topic; /* this one's: all that ask for the same */
	uint64_t told;       /* who has it, as was said last ... */
	int answered;        /* ... if it was */
	LIST_ENTRY(inquiry) of_watcher, of_place;
	char name[NAME_MAX_LENGTH + 1]; /* behind the slash */
};

struct inquiries {
	struct registry *registry;
	struct router *router;
	struct users *users;
	const char *node;     /* this one's name */
	uint64_t self;        /* id of this run's broker, as others write it */
	struct topic *topics; /* what is asked of this node */
};

#define ABROAD_LIST_MOST 2048u /* bytes of the users of other nodes that the broker notes down for a process */

/*
 * Begin to watch. -ENOSPC: it watches too many. -ENOMEM. Twice is once. Of this node it is answered at once. If it is of
 * another, `place` is that node's list.
 */
int inquiry_begin(struct inquiries *, struct process *watcher, struct node *, struct inquiry_list *place,
		  const char *name, struct inquiry **ret);
struct inquiry *inquiry_find(const struct process *watcher, const struct node *, const char *name);
void inquiry_end(struct inquiries *, struct inquiry *);
/* It watches nothing any more. */
void inquiries_end_of(struct inquiries *, struct process *watcher);

/* Somebody took this name, or gave it up. For registry.changed, with the inquiries as data. */
void inquiries_changed(void *data, const char *name);
/* Say again how it is with all: who is not back by now has lost its names. */
void inquiries_settle(struct inquiries *);

/* Tell one of ours: node "/" name is this id (0: nobody), whose user is that ("user@node", or ""). It may write to it. */
void inquiry_answer(struct inquiry *, const char *node, uint64_t id, const char *user);
/* Tell one of ours who knows of no holder why there is no connection to the node, which is why nobody answers. */
void inquiry_unreachable(const struct inquiry *);
/* The same to all who watch names of this node. */
void inquiries_unreachable(const struct node *);

#endif
