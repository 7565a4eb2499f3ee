/*
 * log: one line per event worth knowing, on a descriptor. "time level event key=value ...". What came from others is
 * escaped, so a line is a line, and each kind of event is limited in rate, so nobody can fill the disk.
 */
#ifndef BROOD_LOG_H
#define BROOD_LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

enum log_event { /* README.md has the table of what each one means */
		 LOG_START,
		 LOG_LISTEN,
		 LOG_READY,
		 LOG_DRAIN,
		 LOG_STOP,
		 LOG_SOCKET_LOST,
		 LOG_IDLE,
		 LOG_ACCEPT_PAUSED,
		 LOG_ACCEPT_FAILED,
		 LOG_FIFO_REFUSED,
		 LOG_SESSION_BROKEN,
		 LOG_SESSION_REFUSED,
		 LOG_SESSION_FENCED,
		 LOG_PROCESS_CAME,
		 LOG_PROCESS_LOST,
		 LOG_PROCESS_BACK,
		 LOG_PROCESS_GONE,
		 LOG_ADOPT_FAILED,
		 LOG_CHILD_LINE,
		 LOG_NAME_REFUSED,
		 LOG_SEND_REFUSED,
		 LOG_LINK_UP,
		 LOG_LINK_DOWN,
		 LOG_LINK_FAILED,
		 LOG_RELOAD_DONE,
		 LOG_RELOAD_FAILED,
		 LOG_RELOAD_LATER,
		 LOG_EVENTS
};

struct log {
	int fd;
	enum log_level level; /* more talkative events are left out */
	size_t most;          /* the file is emptied when it has grown beyond; 0: never */
	size_t written;
	struct log_rate {
		uint64_t refilled_ms;
		uint32_t tokens, suppressed;
	} rate[LOG_EVENTS];
};

/* One that says nothing is left out: no text, the id of nobody (0), the user of nobody (UINT32_MAX). */
struct log_field {
	const char *key;
	const char *text;
	uint64_t number;
	enum { LOG_IS_TEXT, LOG_IS_NUMBER, LOG_IS_ID, LOG_IS_USER } kind;
};

#define FIELD_TEXT(key, value) ((struct log_field){ (key), (value), 0, LOG_IS_TEXT })
#define FIELD_NUMBER(key, value) ((struct log_field){ (key), NULL, (uint64_t)(value), LOG_IS_NUMBER })
#define FIELD_ID(key, value) ((struct log_field){ (key), NULL, (value), LOG_IS_ID })
#define FIELD_USER(key, value) ((struct log_field){ (key), NULL, (value), LOG_IS_USER })

/* The descriptor stays the caller's. */
void log_init(struct log *, int fd, enum log_level);

/* Write to fd from now on, a file that holds at most about `most` bytes. */
void log_move(struct log *, int fd, size_t most);

#define log_say(log, event, ...)                                                                                       \
	log_fields((log), (event), (const struct log_field[]){ __VA_ARGS__ },                                          \
		   sizeof((const struct log_field[]){ __VA_ARGS__ }) / sizeof(struct log_field))

void log_fields(struct log *, enum log_event, const struct log_field *, size_t n);

/* The level of this name, or -1. */
int log_level_parse(const char *name);

#endif
