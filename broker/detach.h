/*
 * detach: into the background, once. The only fork of this program.
 */
#ifndef BROOD_DETACH_H
#define BROOD_DETACH_H

/*
 * Fork; the child returns, in a session of its own, with a descriptor for detach_done(). The parent waits for that and
 * exits with the status given there, or with 1 if the child ends without. -errno: nothing has happened.
 */
int detach_begin(void);

/* Let the waiting parent exit with this status. Standard input and output are /dev/null from now on. */
void detach_done(int fd, int status);

#endif
