/*
 * raw: frames without the library, for those who lie: a false broker, a hostile child. Blocking, with a deadline for
 * reading. What goes wrong is a negative errno; nothing is asserted here.
 */
#ifndef RAW_H
#define RAW_H

#include "frame.h"
#include "message.h"
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <sys/types.h>

struct raw_frame {
	struct frame head;
	_Alignas(8) uint8_t bytes[FRAME_MAX];
};

/* A listening Unix socket at a path; a connection to one. */
int raw_listen(const char *path);
int raw_connect(const char *path);
/* The next connection within timeout_ms, or -ETIMEDOUT. */
int raw_accept(int listener, int timeout_ms);

/* All n bytes. 0, or the connection's error. */
int raw_write(int fd, const void *bytes, size_t n);
/* A frame: the head's length is set from `length`. */
int raw_send(int fd, const struct frame *head, const void *body, size_t length);
/* A control frame. */
int raw_send_pb(int fd, unsigned kind, const ProtobufCMessage *);
/* A DATA frame to `destination` with one item of this kind; sequence 0 stands for 1. */
int raw_send_item(int fd, uint64_t source, uint64_t destination, uint64_t sequence, const struct item *,
		  const void *body);

/* The next frame. 1; 0 at the end of the connection; -ETIMEDOUT; -EPROTO. */
int raw_receive(int fd, struct raw_frame *, int timeout_ms);
/* Skip frames until one of this kind: as raw_receive(). */
int raw_receive_kind(int fd, unsigned kind, struct raw_frame *, int timeout_ms);

#endif
