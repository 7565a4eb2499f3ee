/*
 * signame: signals by name.
 */
#ifndef SIGNAME_H
#define SIGNAME_H

/* "TERM", "SIGTERM", "term" or "15" as a number; 0 if there is no such signal. */
int signame_number(const char *text);

#endif
