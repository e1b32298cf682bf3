#pragma once
/*
 * auth_failures.h - counts recent failed logins by address.
 *
 * One table of fixed size for all relays.  Relays change its counters atomically, without a lock.
 * Where too many addresses fall into one bucket, the one with the fewest failures is dropped.
 * Bucket and tag of an address depend on a random seed, so that an attacker can't choose addresses
 * that share another address's counter.
 */
#include "base/time.h"
#include "machine/os.h"

struct auth_failures;

struct auth_failures *auth_failures_new(void); /* NULL: no memory */
void auth_failures_free(struct auth_failures **failures);
/** Counts a failed login.  Returns the number of failures within `window`, this one included. */
uint32_t auth_failures_add(struct auth_failures *failures, const struct address *address,
                           moment now, duration window);
/** Returns the number of failures within `window`.  *ret_since: time of the first, if there are
 *  any. */
uint32_t auth_failures_count(const struct auth_failures *failures, const struct address *address,
                             moment now, duration window, moment *ret_since);
