#pragma once
/*
 * move.h - moves parked clients from one relay to another.
 *
 * A client can move if it is parked and has no server, no claim, no unhandled bytes, and no
 * administrator's order about clients is under way.  It is packed into a transfer, which is mailed
 * to the new relay.  The transfer owns the client until it is delivered.  Objects of the old relay
 * (interned parameters and statements, the cancel key, membership in its local pool) are released
 * there; their contents travel as plain bytes.  On the new relay the client joins that relay's
 * local pool of the same pool.  If the router does not know that local pool yet, a coroutine waits
 * until it does.  The client stays in the counts of its pool, database and user all the time, so
 * that these are always exact.
 *
 * Runs on the relay that has the client; move_some on any machine.  No function suspends its
 * caller.  Design: docs/internals/moving.md
 */
#include "base/fault.h"

#include <stdint.h>

struct client;
struct relay;

/* Bytes of parameters and named statements, at most, that a client can take along. */
#define MOVE_STATE_MAX ((size_t)256 * 1024)

/** Returns why the client can't be moved now; NULL: it can. */
const char *move_hindrance(const struct client *client);
/** Transfers a client that move_hindrance allows.  LIMIT or MEMORY: the client stays where it
 *  is. */
fault move_client(struct client *client, struct relay *to) MUST_USE;
/** Asks `from` to transfer `portion` thousandths of its recently active clients to `to`; clients
 *  that moved recently stay.  `any`: of all its clients, whenever they were active or moved. */
fault move_some(struct relay *from, struct relay *to, uint32_t portion, bool any) MUST_USE;
