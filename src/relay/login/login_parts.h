#pragma once
/*
 * login_parts.h - a client's login: from an accepted socket to a parked client.
 *
 * Startup packet, route, proof, session state, greeting: a file each, run in this order by one
 * coroutine (login.c), under one deadline.  A fault of any step ends the login; its story is what
 * the client is told.  All of it may suspend.
 */
#include "config/config.h"
#include "relay/client.h"
#include "session/params.h"
#include "wire/startup.h"

/* What a login works with; on the heap, for its coroutine's stack is not meant for it. */
struct login {
    struct client *client;
    struct config *config; /* counted */
    deadline by;
    struct wire_startup startup;
    struct span database;
    struct span user;
    enum wire_replication replication;
    struct buffer out;
    char name[CLIENT_NAME_SIZE]; /* of the application, with the client's address */
    size_t param_count;
    size_t params_over; /* that the client has said beyond the limit */
    bool console;
    struct param params[PARAMS_MAX]; /* from here on nothing is zeroed */
    uint8_t packet[WIRE_STARTUP_MAX];
    uint8_t scratch[WIRE_STARTUP_MAX]; /* options without their escapes */
};

/** login_startup.c: reads the startup packet.  Faults: what a client may be told; CLOSED, which a
 *  cancel request ends with too. */
fault login_startup(struct login *login) MUST_USE;
/** One more startup parameter, unless the configuration ignores it; lends its bytes.
 *  Faults: LIMIT. */
fault login_add_param(void *argument, struct span name, struct span value);

/** login_route.c: finds the route, and has the client prove who it is.  Then it is counted, and its
 *  local pool is known to the router. */
fault login_route(struct login *login) MUST_USE;
/** Admits it to the console. */
fault login_finish_console(struct login *login) MUST_USE;

/** login_session.c: its parameters are a set that servers take, and it can be cancelled. */
fault login_transaction(struct login *login) MUST_USE;
/** The same in a session pool: it has its server. */
fault login_session(struct login *login) MUST_USE;

/** login_greet.c: tells it ParameterStatus, BackendKeyData and ReadyForQuery. */
fault login_greet(struct login *login) MUST_USE;
