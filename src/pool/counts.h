#pragma once
/*
 * counts.h - how many clients a pool, a database or a user has, over all relays and versions.
 *
 * Counted, shared by the router and every local pool that it is about; the count is exact: whoever
 * is admitted was below the limit at that moment.  From any thread.
 */
#include "base/compiler.h"

struct counts;

/* Those that a client is counted in. */
enum counts_of { COUNTS_POOL, COUNTS_DATABASE, COUNTS_USER, COUNTS };

struct counts *counts_new(void); /* NULL: no memory */
struct counts *counts_ref(struct counts *counts);
void counts_unref(struct counts **counts); /* NULL-safe */
/** Counts a client in; false: there are `most` already (0: no limit). */
bool counts_admit(struct counts *counts, uint32_t max);
void counts_dismiss(struct counts *counts);
/** Counts a server that its client keeps; false: there are `most` already. */
bool counts_pin(struct counts *counts, uint32_t max);
void counts_unpin(struct counts *counts);
