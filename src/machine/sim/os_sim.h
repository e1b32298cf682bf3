#pragma once
/*
 * os_sim.h - the simulated world: one thread, a virtual clock, memory sockets, a seeded order.
 *
 * The same seed gives the same history, down to each byte's hour of arrival.  Time passes only when
 * nobody can run, so that a day of waiting costs nothing.  Kept like the real world's: a short read
 * on TCP means drained, since bytes arrive late and in pieces rather than being held back; events
 * are edges, come in any order and not all at once; hints may be stale.
 * Design: docs/internals/machine.md
 */
#include "base/compiler.h"

/** Makes the simulation the world (`os`) of all machines from now on.  On a thread that is no
 *  machine. */
void os_sim_start(uint64_t seed);
/** A hash over all that happened at the door so far. */
uint64_t os_sim_history(void);
/** Frees the simulated world and goes back to the real one.  No machine is left. */
void os_sim_finish(void);
