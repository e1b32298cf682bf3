#pragma once
/*
 * counted.h - heap memory whose amount clients determine, counted in memory_limit.
 *
 * Used for objects that outlive a message: texts and names of prepared statements, session
 * parameters, logins, ledger entries.  Memory is counted in the chunk store of the relay on whose
 * machine it is allocated, and must be freed on the same machine.  Machines without a store count
 * nothing.  An object that moves to another relay is uncounted where it leaves and counted where it
 * arrives.
 */
#include "session/chunk.h"

/** Sets the store that counts memory of the running machine from now on.  NULL: none. */
void counted_in(struct chunk_store *store);
/** Allocates and counts.  NULL without memory, or at the limit; FAULT_MEMORY's message is set at
 *  the limit. */
void *counted_alloc(size_t size);
/** Frees and uncounts.  NULL-safe; `size` must be the allocated size. */
void counted_free(void *at, size_t size);
/** Counts memory that was allocated by other means.  false at the limit; FAULT_MEMORY's message is
 *  then set. */
bool counted_add(uint64_t size);
/** Ends the count of `size` bytes. */
void counted_remove(uint64_t size);
