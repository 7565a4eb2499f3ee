/*
 * hmac: HMAC-SHA256 as RFC 2104 defines it, over libmd's SHA-256.
 */
#ifndef BROOD_HMAC_H
#define BROOD_HMAC_H

#include <stddef.h>
#include <stdint.h>

#define HMAC_SIZE 32

void hmac_sha256(const uint8_t *key, size_t key_length, const uint8_t *text, size_t n, uint8_t ret[HMAC_SIZE]);
/* 1 if equal. Takes the same time wherever they differ. */
int hmac_equal(const uint8_t a[HMAC_SIZE], const uint8_t b[HMAC_SIZE]);

#endif
