/*
 * address: texts that name brokers, processes and services, to binary and back.
 *
 * Everything here is a pure function of its text (and, for the private directory, of environment and uid). Nothing is
 * looked up in the network: an address is a path or numbers, so parsing never blocks. The surprising rule: a name must
 * not look like a process id, so that "who is meant" is decided by the text alone.
 *
 * Named pipes have no family of socket addresses. Their directory stands where a Unix socket has its path, under
 * AF_UNSPEC.
 */
#include "address.h"
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define FORMS "write unix:/path/to/socket, fifo:/path/to/directory, tcp://127.0.0.1:7433 or tls://host:7433"

__attribute__((format(printf, 3, 4))) static int refuse(char *why, size_t n, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, n, format, args);
	va_end(args);
	return -EINVAL;
}

/* An absolute path. `scheme` has its colon. */
static int parse_path(const char *scheme, sa_family_t family, const char *path, struct address *ret, char *why,
		      size_t n)
{
	struct sockaddr_un un = { .sun_family = family };
	size_t length = strlen(path);

	if (path[0] != '/')
		return refuse(why, n, "address \"%s%s\": the path is not absolute; " FORMS, scheme, path);
	if (length >= sizeof(un.sun_path))
		return refuse(why, n, "address \"%s%s\": the path is longer than %zu bytes; choose a shorter one",
			      scheme, path, sizeof(un.sun_path) - 1);
	memcpy(un.sun_path, path, length + 1);
	memcpy(&ret->sockaddr, &un, sizeof(un));
	ret->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
	ret->kind = family == AF_UNIX ? ADDRESS_UNIX : ADDRESS_FIFO;
	return 0;
}

const char *address_directory(const struct address *a)
{
	return ((const struct sockaddr_un *)(const void *)&a->sockaddr)->sun_path;
}

/* Digits only, at most 65535. Returns -1 for anything else. */
static long parse_port(const char *text)
{
	long port = 0;
	size_t i;

	for (i = 0; text[i] >= '0' && text[i] <= '9' && i < 5; i++)
		port = port * 10 + (text[i] - '0');
	return i > 0 && text[i] == '\0' && port <= 65535 ? port : -1;
}

static int set_ip4(const char *host, uint16_t port, struct address *ret)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };

	if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &in.sin_addr) != 1)
		return 0;
	memcpy(&ret->sockaddr, &in, sizeof(in));
	ret->length = sizeof(in);
	ret->loopback = ntohl(in.sin_addr.s_addr) >> 24 == 127;
	return 1;
}

static int set_ip6(const char *host, uint16_t port, struct address *ret)
{
	struct sockaddr_in6 in = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	if (inet_pton(AF_INET6, host, &in.sin6_addr) != 1)
		return 0;
	memcpy(&ret->sockaddr, &in, sizeof(in));
	ret->length = sizeof(in);
	ret->loopback = IN6_IS_ADDR_LOOPBACK(&in.sin6_addr) != 0;
	return 1;
}

/* Split "host:port" or "[host]:port" in place. 1 if that worked; *six tells of brackets. */
static int split_host(char *text, char **host, char **port, int *six)
{
	char *colon = strrchr(text, ':');

	*six = text[0] == '[';
	if (!colon || (*six && (colon == text + 1 || colon[-1] != ']')))
		return 0;
	*colon = '\0';
	*port = colon + 1;
	*host = text + *six;
	if (*six)
		colon[-1] = '\0';
	return 1;
}

/*
 * Labels of letters, digits and dashes, with dots between them; one may be at the end. What is not ASCII is written as
 * xn--. The last label is no number: that would be a mistyped address.
 */
static int is_host_name(const char *host)
{
	size_t n = 0;
	int number = 1;

	for (; *host; host += n + (host[n] == '.')) {
		n = strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-");
		if (n == 0 || host[0] == '-' || host[n - 1] == '-' || (host[n] && host[n] != '.'))
			return 0;
		number = strspn(host, "0123456789") == n;
	}
	return !number;
}

/* "localhost" is this host, whatever the resolver thinks; for TLS also as it is written elsewhere. */
static const char *number_of(const char *host, enum address_kind kind)
{
	if (kind == ADDRESS_TLS && (strcasecmp(host, "localhost") == 0 || strcasecmp(host, "localhost.") == 0))
		return "127.0.0.1";
	return host;
}

/* TCP takes numbers only, TLS names too: those are in its certificates. */
static int parse_net(enum address_kind kind, const char *text, struct address *ret, char *why, size_t n)
{
	char copy[ADDRESS_HOST], *host, *port;
	const char *scheme = kind == ADDRESS_TLS ? "tls" : "tcp";
	int six, known;
	long number;

	if (strlen(text) >= (kind == ADDRESS_TLS ? sizeof(copy) : INET6_ADDRSTRLEN + 16))
		return refuse(why, n, "address \"%s://%s\": it is too long for a host and a port", scheme, text);
	memcpy(copy, text, strlen(text) + 1);
	if (!split_host(copy, &host, &port, &six))
		return refuse(why, n, "address \"%s://%s\": there is no port; " FORMS, scheme, text);
	number = parse_port(port);
	if (number < 0)
		return refuse(why, n, "address \"%s://%s\": \"%s\" is not a port; use a number from 0 to 65535", scheme,
			      text, port);
	known = (six ? set_ip6 : set_ip4)(number_of(host, kind), (uint16_t)number, ret);
	if (!known && kind == ADDRESS_TCP)
		return refuse(
			why, n,
			"address \"tcp://%s\": \"%s\" is not a numeric address, and host names are not looked up; "
			"write the number, as in tcp://127.0.0.1:7433 or tcp://[::1]:7433",
			text, host);
	if (!known && (six || !is_host_name(host)))
		return refuse(why, n, "address \"tls://%s\": \"%s\" is neither a host's name nor a number; " FORMS,
			      text, host);
	if (kind == ADDRESS_TLS)
		memcpy(ret->host, host, strlen(host) + 1);
	ret->port = (uint16_t)number;
	ret->kind = kind;
	return 0;
}

int address_parse(const char *text, struct address *ret, char *why, size_t n)
{
	memset(ret, 0, sizeof(*ret));
	if (strncmp(text, "unix:", 5) == 0)
		return parse_path("unix:", AF_UNIX, text + 5, ret, why, n);
	if (strncmp(text, "fifo:", 5) == 0)
		return parse_path("fifo:", AF_UNSPEC, text + 5, ret, why, n);
	if (strncmp(text, "tcp://", 6) == 0)
		return parse_net(ADDRESS_TCP, text + 6, ret, why, n);
	if (strncmp(text, "tls://", 6) == 0)
		return parse_net(ADDRESS_TLS, text + 6, ret, why, n);
	return refuse(why, n, "address \"%s\": unknown kind; " FORMS, text);
}

static void format_path(const char *scheme, const struct sockaddr_storage *sa, socklen_t length, char *to, size_t n)
{
	struct sockaddr_un un = { 0 };
	size_t path = 0;

	memcpy(&un, sa, length < sizeof(un) ? length : sizeof(un));
	if (length > offsetof(struct sockaddr_un, sun_path))
		path = strnlen(un.sun_path, sizeof(un.sun_path));
	snprintf(to, n, "%s%.*s", scheme, (int)path, un.sun_path);
}

char *address_format(const struct sockaddr_storage *sa, socklen_t length, char *to, size_t n)
{
	char host[INET6_ADDRSTRLEN];
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	switch (sa->ss_family) {
	case AF_UNIX:
		format_path("unix:", sa, length, to, n);
		break;
	case AF_UNSPEC:
		format_path("fifo:", sa, length, to, n);
		break;
	case AF_INET:
		memcpy(&in, sa, sizeof(in));
		inet_ntop(AF_INET, &in.sin_addr, host, sizeof(host));
		snprintf(to, n, "tcp://%s:%u", host, ntohs(in.sin_port));
		break;
	case AF_INET6:
		memcpy(&in6, sa, sizeof(in6));
		inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof(host));
		snprintf(to, n, "tcp://[%s]:%u", host, ntohs(in6.sin6_port));
		break;
	default:
		snprintf(to, n, "unknown:%u", sa->ss_family);
	}
	return to;
}

int address_equal(const struct address *a, const struct address *b)
{
	return a->kind == b->kind && a->length == b->length && memcmp(&a->sockaddr, &b->sockaddr, a->length) == 0;
}

char *address_text(const struct address *a, char *to, size_t n)
{
	if (a->kind == ADDRESS_TLS && a->length == 0)
		snprintf(to, n, "tls://%s:%u", a->host, a->port);
	else
		address_format(&a->sockaddr, a->length, to, n);
	if (a->kind == ADDRESS_TLS && strncmp(to, "tcp:", 4) == 0)
		memcpy(to, "tls:", 4);
	return to;
}

char *id_format(uint64_t id, char to[ID_TEXT])
{
	snprintf(to, ID_TEXT, "%" PRIx32 ".%" PRIu32, (uint32_t)(id >> 32), (uint32_t)id);
	return to;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Only what id_format() writes is an id: lower case, no leading zeros, both numbers from 1 to 2^32 - 1. */
int id_parse(const char *text, uint64_t *ret)
{
	uint64_t epoch = 0, counter = 0;

	if (text[0] == '0')
		return -EINVAL;
	for (; hex_digit(*text) >= 0 && epoch <= UINT32_MAX; text++)
		epoch = epoch << 4 | (uint64_t)hex_digit(*text);
	if (epoch == 0 || epoch > UINT32_MAX || text[0] != '.' || text[1] == '0')
		return -EINVAL;
	for (text++; *text >= '0' && *text <= '9' && counter <= UINT32_MAX; text++)
		counter = counter * 10 + (uint64_t)(*text - '0');
	if (counter == 0 || counter > UINT32_MAX || *text != '\0')
		return -EINVAL;
	*ret = epoch << 32 | counter;
	return 0;
}

int name_is_valid(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-");
	uint64_t id;

	if (n == 0 || n > NAME_MAX_LENGTH || name[n] != '\0' || name[0] == '.' || name[0] == '-')
		return 0;
	return id_parse(name, &id) != 0;
}

int name_is_of_node(const char *text)
{
	char node[NAME_MAX_LENGTH + 1];
	size_t n = strcspn(text, "/");
	uint64_t id;

	if (n == 0 || n > NAME_MAX_LENGTH || text[n] != '/')
		return 0;
	memcpy(node, text, n);
	node[n] = '\0';
	text += n + 1;
	return name_is_valid(node) && (name_is_valid(text) || id_parse(text, &id) == 0 || strcmp(text, "@broker") == 0);
}

char *address_private_directory(char *to, size_t n)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int length;

	if (runtime && runtime[0] == '/')
		length = snprintf(to, n, "%s/brood", runtime);
	else
		length = snprintf(to, n, "/tmp/brood-%u", (unsigned)getuid());
	return length >= 0 && (size_t)length < n ? to : NULL;
}
