/*
 * notify: the two conventions of service managers, sd_notify(3) and sd_listen_fds(3), without their library.
 */
#ifndef BROOD_NOTIFY_H
#define BROOD_NOTIFY_H

/* Tell the service manager, if there is one: "READY=1\nSTATUS=...". Best effort. */
void notify_state(const char *state);

/* Number of inherited sockets, numbered from *first; 0 if there are none. They are close-on-exec afterwards. */
int notify_sockets(int *first);

#endif
