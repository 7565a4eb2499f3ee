/*
 * output: what commands print. Tables are for people and may change; --json is for programs and only grows.
 */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define OUTPUT_SHORT 24 /* room for the short forms below */

/* Print a value on one line and give it up; NULL (out of memory) is an error. 0, or -ENOMEM, -EIO after a message. */
int output_json(json_t *);
int output_json_to(FILE *, json_t *);

/* Bytes that somebody else chose as a JSON string; where they are no UTF-8, {"base64": "..."}. New reference. */
json_t *output_json_bytes(const void *bytes, size_t length);

/* Text that somebody else chose, for a terminal: control characters become "?", so that a title cannot move the cursor.
 */
void output_safe(const char *text, char *to, size_t size);

/* "850 ms", "12 s", "3 min", "5 h", "2 d". Returns `to`. */
const char *output_age(uint64_t ms, char to[OUTPUT_SHORT]);

/* "17 B", "3.2 KiB", "1.0 MiB" ... Returns `to`. */
const char *output_bytes(uint64_t bytes, char to[OUTPUT_SHORT]);

#endif
