#pragma once
/*
 * pooler.h - the pooler as a whole: its interface for instance/ and admin/.
 *
 * Runs on coroutines of the pooler machine.  Each relay has a machine of its own.
 */
#include "base/fault.h"
#include "base/time.h"

struct address;
struct buffer;
struct client;
struct config;
struct machine;
struct pooler;
struct relay;
struct router;

/* What SHUTDOWN of the console waits for. */
enum pooler_shutdown { SHUTDOWN_NOW, SHUTDOWN_WAIT_SERVERS, SHUTDOWN_WAIT_CLIENTS };

/* The administration console, registered by instance/. */
struct pooler_console {
    /** Serves a logged-in client on its relay; the caller closes the client after the return. */
    void (*serve)(struct client *client, struct pooler *pooler);
    fault (*reload)(void *argument, struct buffer *report);
    fault (*set)(void *argument, const char *key, const char *value, struct buffer *report);
    void (*shutdown)(void *argument, enum pooler_shutdown how); /* on the pooler machine */
    /** Called when all listeners are bound and no relay runs yet: privileges for binding can be
     *  dropped.  NULL: nothing to do. */
    fault (*bound)(void *argument);
    void *argument;
};

/** Binds all listeners, starts the relays and accepts clients.  Faults: SYSTEM, NAME, MEMORY (with
 *  the detail); then everything is undone. */
fault pooler_start(struct config *config, const struct pooler_console *console,
                   struct pooler **ret) MUST_USE;
/** Applies a new version and its listeners; the number of relays stays the same.  Suspends.  After
 * a fault nothing has changed, unless memory was lacking for a listener. */
fault pooler_reload(struct pooler *pooler, struct config *config) MUST_USE;
/** Stops accepting, lets transactions finish until `by`, then disconnects all clients.  Suspends.
 *  False: a relay did not end, and nothing may be freed. */
bool pooler_stop(struct pooler *pooler, deadline by);
/** Has a pooler_stop under way disconnect all clients at once. */
void pooler_hurry(struct pooler *pooler);
void pooler_free(struct pooler **pooler);

/** Return fields that do not change while relays run; from any relay. */
uint32_t pooler_relays(const struct pooler *pooler);
struct relay *pooler_relay(struct pooler *pooler, uint32_t index);
struct router *pooler_router(struct pooler *pooler);
struct machine *pooler_machine(struct pooler *pooler);
const struct pooler_console *pooler_console(const struct pooler *pooler);
/* The numbers that file descriptors suffice for, whatever a version allows; 0: no bound. */
struct pooler_budget {
    uint32_t clients;     /* that have logged in, or are about to */
    uint32_t connections; /* of clients, with those that have not logged in yet */
    uint32_t servers;
};
void pooler_set_budget(struct pooler *pooler, const struct pooler_budget *budget);
uint32_t pooler_clients(const struct pooler *pooler);

/** Visits all machines in turn: `visit` runs on the loop of each relay, then (relay == NULL) on
 * that of the pooler machine.  Suspends the caller, on any of them, until all were visited. */
void pooler_look(struct pooler *pooler, void (*visit)(struct relay *relay, void *argument),
                 void *argument);
/** Does the same in slices: a machine where `visit` returns true is visited again, after its other
 *  events were handled. */
void pooler_look_on(struct pooler *pooler, bool (*visit)(struct relay *relay, void *argument),
                    void *argument);
/** Whether pooler_stop was called.  On the pooler machine. */
bool pooler_stopping(const struct pooler *pooler);
