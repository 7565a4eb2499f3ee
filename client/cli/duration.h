/*
 * duration: a length of time as people write it: "250", "250ms", "1.5s", "2m", "1h", "1d".
 */
#ifndef DURATION_H
#define DURATION_H

/* In milliseconds, from 1 to INT_MAX; -1 if it is none. A bare number is milliseconds; less than one is rounded up. */
long duration_ms(const char *text);

#endif
