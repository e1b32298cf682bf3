#pragma once
/*
 * counts.h - number of clients of a pool, a database or a user, over all relays and versions.
 *
 * Reference-counted; shared by the router and the local pools concerned.  Counts are exact: a
 * client is admitted only if the count is below the limit at that moment.  From any thread.
 */
#include "base/compiler.h"

struct counts;

/* The counts that each client is part of. */
enum counts_of { COUNTS_POOL, COUNTS_DATABASE, COUNTS_USER, COUNTS };

struct counts *counts_new(void); /* NULL: no memory */
struct counts *counts_ref(struct counts *counts);
void counts_unref(struct counts **counts); /* NULL-safe */
/** Adds a client to the count.  False: `max` is reached (0: no limit); nothing is counted. */
bool counts_admit(struct counts *counts, uint32_t max);
void counts_dismiss(struct counts *counts);
/** Adds a pinned server to the count.  False: `max` is reached (0: no limit). */
bool counts_pin(struct counts *counts, uint32_t max);
void counts_unpin(struct counts *counts);
