/*
 * child_hostile: a child that takes its channel and writes frames of its own into it, good and bad.
 */
#ifndef CHILD_HOSTILE_H
#define CHILD_HOSTILE_H

/* args[0] says what it does; the list is in child_hostile.c. Ends only when it is killed. */
int be_hostile(char **args);

#endif
