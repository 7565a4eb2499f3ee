/*
 * papers: an authority with a broker's and a client's certificate, made once per program by what `brood cert` uses, and
 * removed at its end.
 */
#ifndef PAPERS_H
#define PAPERS_H

#include "tls_load.h"

/* Make them, if that was not done. 0 or -1, after a message. */
int papers_make(void);

/* For more of them. */
const struct tls_api *papers_api(void);
const char *papers_directory(void);

/* "ca.crt", "server-localhost.key" and so on. Lives until a few calls later. */
const char *papers_path(const char *name);
/* Of the client's, which is certified as this user: by uid, as not everybody has a name. */
const char *papers_client(const char *suffix);

/* broodd's flags, and NULL. */
void papers_arguments(const char **to);
/* BROOD_TLS_* for a client. */
void papers_show(void);

#endif
