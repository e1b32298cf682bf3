#pragma once
/*
 * counted.h - heap memory that clients make grow, counted in memory_limit.
 *
 * For what outlives a message: texts of prepared statements, their names, session parameters,
 * logins, entries that wait for an answer.  It counts in the chunk store of the relay on whose
 * machine it is taken, and must be given back there; on other machines nothing is counted.  What
 * travels to another relay is uncounted where it leaves, and counted where it arrives.
 */
#include "session/chunk.h"

/** Kept memory of the running machine counts in this store from now on. NULL: in none. */
void counted_in(struct chunk_store *store);
/** NULL at the ceiling or without memory, with the story raised. */
void *counted_alloc(size_t size);
/** NULL-safe; `size` as it was asked for. */
void counted_free(void *at, size_t size);
/** Counts memory that is taken elsewhere; false at the ceiling, with the story raised. */
bool counted_add(uint64_t size);
void counted_remove(uint64_t size);
