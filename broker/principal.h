/*
 * principal: whom a client's certificate stands for on this host.
 */
#ifndef BROOD_PRINCIPAL_H
#define BROOD_PRINCIPAL_H

#include <stddef.h>
#include <stdint.h>

/*
 * "alice" is that user of every node that trusts the CA, "alice@beta" of the node beta only; a number is a uid that needs
 * no entry in the user database. 0 and *uid, or -EACCES with the reason.
 */
int principal_uid(const char *principal, const char *node, uint32_t *uid, char *why, size_t n);

#endif
