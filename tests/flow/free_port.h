/* free_port: where a broker of a test may listen, and will again after its death. */
#ifndef FREE_PORT_H
#define FREE_PORT_H

/*
 * Of the loopback interface, nobody's, and none that the kernel gives to those who connect: one of them could have it while
 * the broker is dead; and who dials such a port when nobody listens there may get it as its own, and talk to itself.
 */
unsigned free_port(void);

#endif
