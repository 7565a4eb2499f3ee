/*
 * link: one connection to another node's broker: who that is, what it says, and what is said to it on behalf of processes.
 * proto/README.md, "Links", specifies the frames.
 */
#ifndef BROOD_LINK_H
#define BROOD_LINK_H

#include "node.h"

#define LINK_VERSION_FIRST 1u
#define LINK_VERSION_LAST 1u
#define LINK_BEATS 3u            /* after so many without a frame it is dead */
#define LINK_BACK_OFF_MIN 100u   /* ms from one try to the next, ... */
#define LINK_BACK_OFF_MAX 10000u /* ... at most */

/*
 * What is decided without looking at anything.
 */

/* Of a connection that is up and one that comes: 1 if the new one stays. same_run: of the broker at the other end. */
int link_new_one_stays(const char *own, const char *other, int old_is_dialed, int new_is_dialed, int same_run);
/* The version that both speak, as high as possible; 0: none. */
uint32_t link_version(uint32_t first, uint32_t last);
/* The next wait after one of `ms`, 0: the first. */
unsigned link_back_off(unsigned ms);
/* 1 if who was heard so long ago, and promised to speak every beat_ms, is dead. */
int link_is_dead(uint64_t silent_ms, uint32_t beat_ms);

/*
 * One of them.
 */

/* A connection that was dialed for this node, or (NULL) whose first frame is LINK. Says LINK. NULL without memory. */
struct link *link_new(struct links *, struct session *, struct node *dialed);
/* A frame that came over it. */
void link_take(struct link *, const struct frame *);
/* Its session is closing: its processes are away. What is left is in links.ended, and still to be freed. */
void link_end(struct link *, const char *why);
void link_free(struct link *);
/* Sign of life; questions that were not answered. */
void link_beat(struct link *, uint64_t now_ms);

/* This one of ours is to be known at the other end, with what is to be known of it. 0 or -ENOMEM. */
int link_announce(struct link *, const struct process *);
/* It is gone. */
void link_say_gone(struct link *, const struct process *, Brood__Why);
/* One of ours asks for a name there, or not any more. */
void link_watch(struct link *, struct inquiry *);
void link_unwatch(struct link *, const struct inquiry *);

struct node *node_find(const struct links *, const char *name);
/* The process of this node with this id there, made if there is none. NULL: that cannot be. */
struct process *link_process(struct node *, uint64_t real);
/* 1 if one of another node may write to one of ours. */
int link_may(const struct links *, const struct process *from, const struct process *to);

#endif
