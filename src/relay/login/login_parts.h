#pragma once
/*
 * login_parts.h - a client's login: from an accepted socket to a parked client.
 *
 * The steps are: startup packet, route and authentication, session parameters, first replies.  Each
 * has a file.  One coroutine runs them in this order (login.c), under one deadline.  A fault of any
 * step ends the login, and its message is sent to the client.  All steps may suspend.
 */
#include "config/config.h"
#include "relay/client.h"
#include "session/params.h"
#include "wire/startup.h"

/* State of one client's login; on the heap, because it is too large for the coroutine's stack. */
struct login {
    struct client *client;
    struct config *config; /* counted */
    deadline by;
    struct wire_startup startup;
    struct span database;
    struct span user;
    enum wire_replication replication;
    struct span target_text;  /* trunkline.target_session_attrs as given; none: `at` is NULL */
    enum fleet_target target; /* TARGET_DEFAULT: as the route or the listener says */
    struct buffer out;
    char name[CLIENT_NAME_SIZE]; /* of the application, with the client's address */
    size_t param_count;
    size_t params_over; /* startup parameters beyond the limit */
    bool console;
    struct param params[PARAMS_MAX]; /* fields from here on are not zeroed */
    uint8_t packet[WIRE_STARTUP_MAX];
    uint8_t scratch[WIRE_STARTUP_MAX]; /* `options` without escapes */
};

/** login_startup.c: reads the startup packet.  A cancel request is handled and returns CLOSED.
 *  Faults: any, with a message for the client. */
fault login_startup(struct login *login) MUST_USE;
/** Adds a startup parameter, unless the configuration ignores it.  The bytes are borrowed.
 *  `argument`: the login.  Faults: LIMIT. */
fault login_add_param(void *argument, struct span name, struct span value);

/** login_route.c: finds the route and authenticates the client.  Afterwards the client is counted,
 *  and the router knows its local pool. */
fault login_route(struct login *login) MUST_USE;
/** Completes the login of a console client. */
fault login_finish_console(struct login *login) MUST_USE;

/** login_session.c, for transaction and statement pools: makes the client's set of parameters,
 *  which servers have accepted, and its cancel key. */
fault login_transaction(struct login *login) MUST_USE;
/** The same for session pools; the client also gets its server. */
fault login_session(struct login *login) MUST_USE;

/** login_greet.c: sends ParameterStatus, BackendKeyData and ReadyForQuery. */
fault login_greet(struct login *login) MUST_USE;
