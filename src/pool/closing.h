#pragma once
/*
 * closing.h - servers of one relay that are ending: Terminate was sent, the backend has not closed
 * the connection yet.
 *
 * On the relay's thread.  The router counts them in pool->ending.
 */
#include "base/compiler.h"

#include <stdbool.h>

struct lease;
struct local_pools;
struct mail;
struct server;

/** Closes a server that is off its local pool and has been sent Terminate, after the backend has
 *  closed the connection, but a second later at the latest.  True: mails lease->ended then.  False:
 *  the server has ended at once. */
bool closing_begin(struct local_pools *pools, struct lease *lease,
                   struct server *take_server) MUST_USE;
/** Delivery of lease->to_relay: closes the server in the lease, and mails lease->ended. */
void closing_ordered(struct mail *mail);
/** Closes all servers that are ending without waiting, when the relay stops. */
void closing_end_all(struct local_pools *pools);
