#pragma once
/*
 * census.h - how many clients a pool, a database or a user has, over all relays and versions.
 *
 * Counted, shared by the router and every local pool that it is about; the count is exact: whoever
 * is admitted was below the limit at that moment.  From any thread.
 */
#include "base/compiler.h"

struct census;

/* Those that a client is counted in. */
enum census_of { CENSUS_POOL, CENSUS_DATABASE, CENSUS_USER, CENSUSES };

struct census *census_new(void); /* NULL: no memory */
struct census *census_ref(struct census *census);
void census_unref(struct census **census); /* NULL-safe */
/** Counts a client in; false: there are `most` already (0: no limit). */
bool census_admit(struct census *census, uint32_t most);
void census_dismiss(struct census *census);
/** Counts a server that its client keeps; false: there are `most` already. */
bool census_pin(struct census *census, uint32_t most);
void census_unpin(struct census *census);
