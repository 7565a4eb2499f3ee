/*
 * tls_load: what the library and the command line use of TLS, from a file that is loaded when it is asked for.
 */
#ifndef BROOD_TLS_LOAD_H
#define BROOD_TLS_LOAD_H

#include "certify.h"
#include "resolve.h"
#include "tls.h"

/*
 * What the loaded file offers. Before anything else `version` must be equal to the loader's.
 */
struct tls_api {
	const char *version;
	struct tls_context *(*client)(const struct tls_files *, struct tls_fault *why);
	struct tls_context *(*server)(const struct tls_files *, enum tls_clients, struct tls_fault *why);
	void (*context_free)(struct tls_context *);
	int (*accept)(struct tls_context *, struct channel *);
	int (*connect)(struct tls_context *, struct channel *, const char *host);
	int (*is_up)(const struct channel *);
	const struct tls_fault *(*failure)(const struct channel *);
	/* resolve.h */
	int (*resolve_begin)(struct resolve **ret, const struct address *);
	int (*resolve_fd)(const struct resolve *);
	int (*resolve_answer)(const struct resolve *, struct address *);
	void (*resolve_free)(struct resolve *);
	/* certify.h */
	int (*make_ca)(const char *directory, unsigned days, struct tls_fault *why);
	int (*certify)(const struct certify_order *, char base[PATH_MAX], struct tls_fault *why);
	int (*revoke)(const char *directory, const char *certificate, struct tls_fault *why);
	int (*show)(const char *path, FILE *to, struct tls_fault *why);
};

/*
 * Load it, or find it loaded; it stays for the life of the process. NULL: *why has the name "tls.unavailable" and says what
 * is missing.
 */
const struct tls_api *tls_load(struct tls_fault *why);

#endif
