#pragma once
/*
 * pooler.h - the pooler as a whole: what instance/ and admin/ may ask of it.
 *
 * Runs on the pooler machine's coroutines; relays have machines of their own.
 */
#include "config/config.h"
#include "machine/co.h"
#include "relay/relay.h"
#include "session/generation.h"

struct pooler;
struct client;

/* When an administrator's SHUTDOWN comes into force. */
enum pooler_shutdown { SHUTDOWN_NOW, SHUTDOWN_WAIT_SERVERS, SHUTDOWN_WAIT_CLIENTS };

/* A target of the router that is no pool: serves a logged-in client on its relay until it returns;
 * the caller then closes it.  Registered by instance/. */
struct pooler_console {
    void (*serve)(struct client *client, struct pooler *pooler);
    fault (*reload)(void *argument, struct buffer *report);
    fault (*set)(void *argument, const char *key, const char *value, struct buffer *report);
    void (*shutdown)(void *argument, enum pooler_shutdown how); /* on the pooler machine */
    /** Every listener is bound, and no relay has begun: what binding needed can be given up.
     *  NULL: nothing to do. */
    fault (*bound)(void *argument);
    void *argument;
};

/** Binds every listener, starts the relays; serves from now on.  Faults: SYSTEM, NAME, MEMORY (with
 *  the story); nothing is left behind. */
fault pooler_start(struct config *config, const struct pooler_console *console,
                   struct pooler **ret) MUST_USE;
/** Takes a new version over, with its listeners; the number of relays stays as it is.  Suspends.
 *  After a fault nothing has changed, unless no memory was left for a listener. */
fault pooler_reload(struct pooler *pooler, struct config *config) MUST_USE;
/** Stops accepting, lets transactions finish until `by`, then ends all.  Suspends.  False: some
 * relay did not end, and nothing may be freed. */
bool pooler_stop(struct pooler *pooler, deadline by);
/** Ends what a pooler_stop under way still waits for. */
void pooler_hurry(struct pooler *pooler);
void pooler_free(struct pooler **pooler);

/** Reads hints and immutable things; from any relay. */
uint32_t pooler_relays(const struct pooler *pooler);
struct relay *pooler_relay(struct pooler *pooler, uint32_t index);
struct router *pooler_router(struct pooler *pooler);
struct machine *pooler_machine(struct pooler *pooler);
const struct pooler_console *pooler_console(const struct pooler *pooler);
/** On the pooler machine: a client has come; the relay with the fewest gets it, if there is room
 * for it.  Suspends. */
void pooler_take(struct pooler *pooler, int handle, const struct address *peer, uint32_t listen);
/* What the descriptors suffice for, however much a version allows; 0: no bound. */
struct pooler_budget {
    uint32_t clients;     /* that have logged in, or are about to */
    uint32_t connections; /* of clients and of those who have said nothing yet */
    uint32_t servers;
};
void pooler_set_budget(struct pooler *pooler, const struct pooler_budget *budget);
uint32_t pooler_clients(const struct pooler *pooler);

/** A look at every machine in turn: `visit` runs on the loop of each relay and then (relay == NULL)
 *  of the pooler machine, while the asking coroutine, on any of them, is suspended. */
void pooler_look(struct pooler *pooler, void (*visit)(struct relay *relay, void *argument),
                 void *argument);
/** The same in slices: a machine at which `visit` returned true is looked at again, once others
 *  there have had their turn. */
void pooler_look_on(struct pooler *pooler, bool (*visit)(struct relay *relay, void *argument),
                    void *argument);
/** On the pooler machine. */
bool pooler_stopping(const struct pooler *pooler);
