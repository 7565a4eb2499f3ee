/*
 * address: where a broker listens ("unix:/path", "fifo:/directory", "tcp://127.0.0.1:7433", "tls://broker.example:7433"),
 * what a process is called ("65f2a1b0.3": epoch in hex, counter in decimal), and which names are legal.
 *
 * A process id is 64 bits: broker epoch in the upper 32, counter in the lower. Counter 0 is never given out, and ids
 * below 2^32 are not processes: 0 is the broker.
 */
#ifndef BROOD_ADDRESS_H
#define BROOD_ADDRESS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum address_kind { ADDRESS_UNIX = 1, ADDRESS_TCP, ADDRESS_TLS, ADDRESS_FIFO };

#define ADDRESS_HOST 108u

struct address {
	enum address_kind kind;
	struct sockaddr_storage sockaddr;
	socklen_t length;        /* 0: the host is a name that was not looked up */
	int loopback;            /* TCP, TLS: an address of this host only */
	uint16_t port;           /* of these */
	char host[ADDRESS_HOST]; /* TLS: as written, which is what a certificate must be for */
};

/*
 * Parse a broker's address. 0, or -EINVAL with the reason in `why` (at most n bytes, one line: what, why, next), also
 * for schemes this version does not know. "localhost" is 127.0.0.1; other host names are for TLS only, and dial() looks
 * them up.
 */
int address_parse(const char *text, struct address *ret, char *why, size_t n);

/* FIFO: the broker's directory, as long as the address lives. */
const char *address_directory(const struct address *);

/* Write a bound or parsed socket address as text, TLS as TCP. Returns to. */
char *address_format(const struct sockaddr_storage *, socklen_t, char *to, size_t n);
/* The same of an address whose kind is known; a host that was not looked up by its name. */
char *address_text(const struct address *, char *to, size_t n);

/* 1 if both are the same place. */
int address_equal(const struct address *, const struct address *);

#define ID_TEXT 24 /* bytes that id_format() needs */
char *id_format(uint64_t id, char to[ID_TEXT]);
/* 0 and *ret, or -EINVAL. */
int id_parse(const char *text, uint64_t *ret);

#define NAME_MAX_LENGTH 63
/* 1 if [a-z0-9._-]{1,63}, does not begin with a dot or dash, and is not of an id's form. */
int name_is_valid(const char *name);

/* 1 if "NODE/NAME": a node's name is a name, and behind it is one, an id as text, or "@broker". */
int name_is_of_node(const char *text);

/* Directory of this user's private broker: $XDG_RUNTIME_DIR/brood, else /tmp/brood-UID. Returns to, or NULL if too
 * long. */
char *address_private_directory(char *to, size_t n);

#endif
