/*
 * fate: what a seed has in store: which programs run, what the weather is like, who is killed, stopped or cut off, when.
 */
#ifndef SIM_FATE_H
#define SIM_FATE_H

/*
 * Run the world of this seed from its beginning to its end. nodes: so many hosts; 0: the seed chooses. 1: no promise broke
 * (world.broken).
 */
int fate_run(unsigned long long seed, unsigned nodes, int tracing);

#endif
