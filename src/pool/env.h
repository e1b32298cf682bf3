#pragma once
/*
 * env.h - the parts of the pooler that all relays and the router use.
 *
 * There is one for the whole process.  It is made before the relays start and freed after they have
 * ended.  Fields are set before the relays start and do not change later, unless noted.
 */
#include "base/fault.h"
#include "config/config.h"
#include "machine/machine.h"
#include "session/generation.h"

struct auth_failures;
struct flight_env;
struct outlines;
struct stats_calls;
struct client;
struct preauths;
struct pooler;
struct relay;
struct router;

/* The administration console.  serve() serves a logged-in client on its relay; the caller closes
 * the client after serve() has returned. */
struct console_target {
    void (*serve)(struct client *client, struct pooler *pooler);
    struct pooler *pooler;
};

struct pooler_env {
    struct machine *machine; /* the pooler thread's */
    struct router *router;
    struct relay *relays[RELAYS_MAX];
    uint32_t relay_count;           /* grows while relays are started, before the first client */
    bool stopping;                  /* read and set by the pooler thread: makes no new servers */
    uint8_t mock_secret[32];        /* for mock authentication */
    struct generations generations; /* of the schemas of databases; from any thread */
    struct auth_failures *failures; /* failed logins by address; from any thread */
    struct flight_env *flight;      /* shared answers; from any thread; NULL until a route has
                                       cache rules, then set before the relays know */
    struct stats_calls *calls;      /* counts of statements; from any thread */
    struct outlines *outlines;      /* of SQL texts; from any thread */
    struct preauths *preauths;      /* connections that have not logged in yet; from any thread */
    uint32_t clients;               /* atomic: clients that have logged in, or are about to */
    uint32_t clients_max;           /* atomic: clients that file descriptors suffice for */
    struct console_target console;
    void (*relay_ended)(struct mail *mail); /* on the pooler thread: delivers relay->ended */
};

/** The number of clients.  From any thread. */
uint32_t env_clients(const struct pooler_env *env);
/** Adds a client to the count.  Fault CLIENTS if there are `max` clients, or as many as descriptors
 *  suffice for.  From any thread. */
fault env_client_comes(struct pooler_env *env, uint32_t max) MUST_USE;
/** Removes a client from the count.  From any thread. */
void env_client_gone(struct pooler_env *env);
