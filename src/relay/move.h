#pragma once
/*
 * move.h - parked clients on their way from one relay to another.
 *
 * A client that is parked and nothing else (no server, no claim, no bytes, nobody's order about it)
 * is packed into a transfer and mailed.  The transfer owns the client until it is delivered: what
 * was the old relay's stays there (its member in the local pool, its interned parameters and
 * statements, its key), and travels as plain bytes.  On the new relay the client takes a member in
 * that relay's local pool of the same pool; only where the router does not know that local pool
 * yet, a coroutine waits for it. Its counts at the pool, the database and the user stay with it, so
 * they are exact at any moment.
 *
 * Runs on the relay that has the client; move_some from any machine.  Nothing here suspends its
 * caller.  Design: docs/internals/moving.md
 */
#include "base/fault.h"

#include <stdint.h>

struct client;
struct relay;

/* Bytes of parameters and named statements that a client takes along; who has more stays. */
#define MOVE_STATE_MAX ((size_t)256 * 1024)

/** Why it can't be moved now; NULL: it can. */
const char *move_hindrance(const struct client *client);
/** Hands it over.  LIMIT or MEMORY: it stays as it is. */
fault move_client(struct client *client, struct relay *to) MUST_USE;
/** Asks `from` to hand over so many of a thousand of its clients that were active lately; those
 *  that moved lately stay.  `any`: of all its clients, whenever they moved. */
fault move_some(struct relay *from, struct relay *to, uint32_t portion, bool any) MUST_USE;
