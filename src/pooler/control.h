#pragma once
/*
 * control.h - what administrators order: databases paused or disabled, servers made anew, clients
 * ended, everything held still.
 *
 * Each relay has a copy of what was ordered, so that nobody asks another thread; an order goes from
 * relay to relay, then to the router, and holds everywhere when its call returns.  A paused
 * database has no claims as far as the router can see, and its servers are closed as they become
 * free; RESUME lets its claims be seen again.  Orders outlive reloads.
 *
 * `database` is the name that clients ask for; NULL: all of them.  All calls with a pooler suspend.
 * Design: docs/internals/control.md
 */
#include "base/fault.h"
#include "base/uuid.h"

struct client;
struct pooler;

/* --- orders ----------------------------------------------------------------------------------- */

/** Sets or clears flags.  Pausing also dooms the servers.  Faults: MEMORY, LIMIT. */
fault control_mark(struct pooler *pooler, const char *database, uint32_t set,
                   uint32_t clear) MUST_USE;
/** Every server is closed when it is free, and made anew when it is needed. */
void control_reconnect(struct pooler *pooler, const char *database);
/** Pauses, and ends all clients and servers. */
fault control_kill(struct pooler *pooler, const char *database) MUST_USE;
/** Ends one client; false: there is none with this id. */
bool control_kill_client(struct pooler *pooler, const struct uuid *id);
/** Moves one client to the relay with the fewest clients but its own.  ROUTE: there is none with
 *  this id; else AGAIN (55000), with the story. */
fault control_move_client(struct pooler *pooler, const struct uuid *id) MUST_USE;
/** No client begins anything new, or they go on. */
void control_suspend(struct pooler *pooler, bool suspended);
/** From now on no new clients are let in, but for the console. */
void control_close(struct pooler *pooler);

/** Servers that are there, on their way or ending; `doomed`: only those that are to be closed. */
uint64_t control_servers(struct pooler *pooler, const char *database, bool doomed);
/** Clients that are in the middle of something, while everything is suspended. */
uint64_t control_busy(struct pooler *pooler);
