/*
 * bench_place: on which processors the processes of a measurement run.
 *
 * Processes that take turns are moved from one processor to another now and then, and to wake up somebody on another one
 * takes longer than all else that a message needs. Who shares one with whom would be the greater part of what is measured:
 * so all contenders of a round run in the same places, and each round has others. Two processors are enough for all that
 * can be different; 4 rounds have every placement of three processes, 8 that of four.
 */
#ifndef BENCH_PLACE_H
#define BENCH_PLACE_H

#include "bench_stage.h"

/* Ours, the first worker and what is between them run in the places of this round ... */
void bench_place(const struct bench *, const struct middle *);
/* ... until now. */
void bench_unplace(const struct bench *, const struct middle *);

#endif
