/*
 * script: what a client of the wire is told by a broker and by processes that are all ours (see understudy.h), and what it
 * says to them. Each check has voices of its own, processes that the client has never heard of, so one that fails spoils none
 * of the others. What a client says against the rules, whatever the check is about, is noted here.
 */
#ifndef SCRIPT_H
#define SCRIPT_H

#include "message.h"
#include "trial.h"
#include "understudy.h"

#define SCRIPT_QUIET_MS 300     /* what has not come by then does not come */
#define SCRIPT_PATIENCE_MS 5000 /* and who has done nothing by then */
#define SCRIPT_STEP_MS 10
#define SCRIPT_VOICES 64
#define SCRIPT_ITEMS 16 /* most that are heard by one voice on one stream */
#define SCRIPT_TEXT 64
#define SCRIPT_DRAFT 1024

struct said { /* an item that came from the client */
	unsigned kind;
	uint64_t correlation;
	char type[SCRIPT_TEXT], body[2 * SCRIPT_TEXT]; /* as much as there is room for, with NUL */
	size_t length;
};

struct voice { /* a process that we speak for */
	uint64_t id;
	uint64_t next;                      /* item that it sends next */
	unsigned mine, its;                 /* how often its stream began anew, and the client's */
	int first_is_over;                  /* its stream with the number 0 is, as one side said */
	uint64_t taken;                     /* items of the client's that it took, ... */
	uint64_t seen;                      /* those that were looked at, ... */
	struct said said[SCRIPT_ITEMS + 1]; /* ... by sequence */
	char types[ITEM_TYPES + 1][SCRIPT_TEXT];
	uint64_t acknowledged; /* by the client since this was set to 0 */
	uint64_t withheld;     /* an item that may not be acknowledged before it was refused; 0: none */
	int over;              /* the client heard that nothing more comes */
	int held;              /* the broker drops what is for it */
	uint64_t floor;        /* held: the first item that was not acknowledged ... */
	int64_t held_at;       /* ... when that was said, in ms, ... */
	unsigned retries;      /* ... and frames that began there since */
	uint64_t probed;       /* the item that the last PROBE said is next */
	int resets;            /* RESETs that came ... */
	struct frame reset;    /* ... the last of them */
};

struct script {
	struct trial *t;
	struct understudy u;
	char address[TESTBED_PATH + 8];
	int argc, voices;
	char **argv;
	struct voice voice[SCRIPT_VOICES];
	_Alignas(8) uint8_t draft[SCRIPT_DRAFT]; /* items of the frame that is being written ... */
	size_t drafted;
	uint64_t items; /* ... how many */
};

/* Listen. 0, or a negative errno after a message to stderr; script_close() in any case. */
int script_open(struct trial *, int argc, char **argv);
void script_close(struct trial *);
/* See to it that there is a client; another one if the check before failed. 0, or -1 with the reason noted. */
int script_begin(struct trial *);

/* Note what is wrong, and where one reads how it should be. -1. */
int script_wrong(struct trial *, const char *chapter, const char *what);

/* A process that has said nothing so far. */
struct voice *script_voice(struct script *);

/* ---- what the client is told ---- */

/* Add an item to the frame that is being written; with a type's name, as number 1. */
void script_draft(struct script *, struct item, const char *type, const char *body);
/* Send it: with its first item's number, flags, and a descriptor or -1; or as what comes next, with flag 0x01. */
void script_send_as(struct script *, struct voice *, uint64_t sequence, unsigned flags, int fd);
void script_send(struct script *, struct voice *);
/* A message of this type, and of no other. */
extern const char script_type[];
void script_say(struct script *, struct voice *, const char *body);

struct frame script_head(const struct voice *, unsigned kind);
/* ACK, RESET, PROBE. */
void script_bare(struct script *, const struct voice *, unsigned kind, uint64_t sequence, uint64_t acknowledge);
void script_acknowledge(struct script *, const struct voice *, uint64_t sequence);
/* RESET with 0: this one cannot read what the client sent. */
void script_part(struct script *, struct voice *);
/* HOLD, GO, of whomever; HOLD behind which what is for this one is dropped, and GO; GONE. */
void script_about(struct script *, const struct voice *, unsigned kind);
void script_hold(struct script *, struct voice *, uint64_t acknowledged);
void script_go(struct script *, struct voice *);
void script_bury(struct script *, struct voice *, unsigned why);

/* ---- what it does: 0, or -1 with the reason noted, which is `what` if it does nothing for 5 s ---- */

int script_turn(struct script *);
/* Whatever it does, for a while. */
int script_quiet(struct script *, int ms);
int script_await(struct script *, const uint64_t *number, uint64_t much, const char *what, const char *chapter);
int script_await_flag(struct script *, const int *flag, const char *what, const char *chapter);
/* Its next item to this one is this message. */
int script_await_echo(struct script *, struct voice *, const char *type, const char *body, const char *what,
		      const char *chapter);
/* It says so much as acknowledged since voice.acknowledged was set to 0. */
int script_await_ack(struct script *, struct voice *, uint64_t sequence, const char *what, const char *chapter);
/* A message comes back; of this one; of somebody else. */
int script_exchange(struct script *, struct voice *, const char *body, const char *what, const char *chapter);
int script_is_well(struct script *, const char *what, const char *chapter);

#endif
