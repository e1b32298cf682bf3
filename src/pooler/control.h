#pragma once
/*
 * control.h - administrators' commands: PAUSE, DISABLE, RECONNECT, KILL, SUSPEND and others.
 *
 * Each relay has its own copy of the orders, so that reading them needs no other thread.  An order
 * goes from relay to relay, then to the router; it applies everywhere when its call returns.  A
 * paused database shows no claims to the router, and its servers are closed as they become free.
 * RESUME shows its claims to the router again.  Orders outlast reloads.
 *
 * `database` is the name that clients ask for; NULL: all databases.  All calls with a pooler
 * suspend. Design: docs/internals/control.md
 */
#include "base/fault.h"
#include "base/uuid.h"

struct client;
struct pooler;

/* --- orders ----------------------------------------------------------------------------------- */

/** Sets and clears flags of enum order_flag.  ORDER_PAUSED also has the servers closed as they
 * become free.  Faults: MEMORY, LIMIT. */
fault control_mark(struct pooler *pooler, const char *database, uint32_t set,
                   uint32_t clear) MUST_USE;
/** Has each server closed as soon as it is free.  Claims then get new servers. */
void control_reconnect(struct pooler *pooler, const char *database);
/** Takes a backend out of service, or puts it back: "HOST" or "HOST:PORT".  Returns how many there
 *  are. */
uint32_t control_drain(struct pooler *pooler, const char *backend);
uint32_t control_undrain(struct pooler *pooler, const char *backend);
/** Pauses the database, disconnects its clients and closes its servers. */
fault control_kill(struct pooler *pooler, const char *database) MUST_USE;
/** Disconnects one client.  False: no client has this id. */
bool control_kill_client(struct pooler *pooler, const struct uuid *id);
/** Moves one client to the relay with the fewest clients except its own.  Faults: ROUTE (no client
 *  has this id), AGAIN (55000, with the detail: it can't be moved now). */
fault control_move_client(struct pooler *pooler, const struct uuid *id) MUST_USE;
/** Keeps all clients from starting a new turn, or lets them go on. */
void control_suspend(struct pooler *pooler, bool suspended);
/** Resumes everything that was paused or suspended without a database name: RESUME without a name.
 *  Faults: AGAIN and SHUTDOWN (both 55000, with the detail), and those of control_mark. */
fault control_resume(struct pooler *pooler) MUST_USE;
/** Refuses new clients from now on, except those of the console. */
void control_close(struct pooler *pooler);

/** Counts servers, with those that log in or are ending.  `to_close`: only those to be closed. */
uint64_t control_servers(struct pooler *pooler, const char *database, bool to_close);
/** Counts what is still in progress while clients are suspended: waiting claims, clients in a turn,
 *  servers being cleaned. */
uint64_t control_busy(struct pooler *pooler);
