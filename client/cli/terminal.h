/*
 * terminal: my own terminal while a child has another one: raw, so that every key goes there; restored however this
 * command ends, but by SIGKILL.
 */
#ifndef TERMINAL_H
#define TERMINAL_H

/* Make it raw, if standard input is one. Again after terminal_restore(), or when others changed it meanwhile. */
void terminal_raw(void);

/* As it was. Nothing, if it was not made raw. Safe in signal handlers. */
void terminal_restore(void);

/* Its size, if any of the standard descriptors is one; else zeros. */
void terminal_size(unsigned *rows, unsigned *columns);

#endif
