#pragma once
/*
 * turn_firewall.h - judges what a client sends by the firewall of its route, before a server, a
 * claim or the cache gets anything of it.
 *
 * A message with SQL is judged by its text, one that names a prepared statement by the text of
 * that, each time under the rules now in force.  Design: docs/firewall.md
 */
#include "pool/local_pool.h"
#include "relay/client.h"

struct turn;

/** Whether the client's route has a firewall. */
static inline bool turn_firewall_on(const struct client *client)
{
    return UNLIKELY((client->pool->looks & POOL_LOOKS_FIREWALL) != 0);
}

/** Judges the message that is walked next, of which the header and more may have arrived.
 * *ret_taken: it was refused, or must arrive further.  Suspends where the text is not known yet.
 * Faults: MEMORY, CANCELLED. */
fault turn_firewall(struct turn *turn, bool *ret_taken) MUST_USE;
/** Whether the first message of a parked client without a server is known to be allowed; it is
 * counted then.  Else its turn has to judge it before it claims a server. */
bool turn_firewall_passes(struct client *client, const uint8_t *at, uint32_t here);
