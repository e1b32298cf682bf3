#pragma once
/*
 * auth_failures.h - how often logins from an address have failed of late.
 *
 * One table for all relays, of a fixed size: counters that each relay changes atomically, without a
 * lock.  Where too many addresses meet, those with the fewest failures are forgotten; what an
 * address meets depends on random bits, so that nobody can make another one's counter grow.
 */
#include "base/time.h"
#include "machine/os.h"

struct auth_failures;

struct auth_failures *auth_failures_new(void); /* NULL: no memory */
void auth_failures_free(struct auth_failures **failures);
/** Counts one; returns how many there were within `window`, this one included. */
uint32_t auth_failures_add(struct auth_failures *failures, const struct address *address,
                           deadline now, duration window);
/** How many there were within `window`, and when the first was. */
uint32_t auth_failures_count(const struct auth_failures *failures, const struct address *address,
                             deadline now, duration window, deadline *ret_since);
