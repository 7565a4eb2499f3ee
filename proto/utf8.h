/*
 * utf8: is this text?
 */
#ifndef BROOD_UTF8_H
#define BROOD_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* 1 if the n bytes are valid UTF-8 (no surrogates, nothing overlong, nothing above U+10FFFF) without NUL. */
int utf8_is_text(const uint8_t *, size_t n);

#endif
