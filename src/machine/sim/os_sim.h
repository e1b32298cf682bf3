#pragma once
/*
 * os_sim.h - the simulation of the os table: one thread, a virtual clock, in-memory sockets, a
 * seeded order.
 *
 * The same seed gives the same history, down to the arrival time of each byte.  Time passes only
 * when no thread can run, so that a day of waiting costs nothing.  As on Linux, a short read on TCP
 * means that the socket is drained: bytes arrive late and in pieces, but reads never hold any back.
 * Events are edges, come in any order and not all at once.  Hints may be stale.
 * Design: docs/internals/machine.md
 */
#include "base/compiler.h"

/** Starts a simulation and sets `os` to it.  On a thread that is no machine. */
void os_sim_start(uint64_t seed);
/** A hash over all events of the os table so far. */
uint64_t os_sim_history(void);
/** Frees the simulation and sets `os` to os_linux.  No machine is left, nothing is open. */
void os_sim_finish(void);
