/*
 * console_failover.c - SWITCHOVER and ELECT: a planned change of a service's primary, and the
 * operator's choice where several servers call themselves primary.
 */
#include "admin/console_parts.h"
#include "base/settings.h"
#include "machine/clock.h"
#include "machine/co.h"
#include "pool/router.h"
#include "relay/relay.h"

#include <inttypes.h>

#define LOOK_PAUSE ms(20)

/* The option TIMEOUT of SWITCHOVER; that of ELECT is the name of a service. */
static const struct setting timeout_option = {
    .name = "TIMEOUT", .kind = SETTING_DURATION, .min = 1000, .max = INT64_C(86400) * 1000000};

/* One visit of the pooler machine. */
struct failover_look {
    struct router *router;
    const char *name;
    duration timeout; /* of the hold; 0: the service's */
    deadline until;   /* of the hold */
    bool found;
    struct router_switch state;
    const char *service; /* of ELECT; "": none was given */
    struct router_election election;
    void (*look)(struct failover_look *look);
};

static void failover_visit(struct relay *relay, void *argument)
{
    struct failover_look *look = argument;
    if (relay == NULL)
        look->look(look);
}

static void failover_look(struct console *console, struct failover_look *look,
                          void (*what)(struct failover_look *look))
{
    look->router = pooler_router(console->pooler);
    look->name = console->call->argument;
    look->look = what;
    pooler_look(console->pooler, failover_visit, look);
}

static void look_at_switch(struct failover_look *look)
{
    look->found = router_look_at_switch(look->router, look->name, &look->state);
}

/* Begins the hold, unless there is one. */
static void look_to_hold(struct failover_look *look)
{
    look_at_switch(look);
    if (look->timeout.us == 0)
        look->timeout = look->state.timeout;
    look->until = after(look->timeout);
    if (look->found && look->state.elected && !look->state.held)
        router_hold(look->router, look->name, look->until);
}

static void look_to_resume(struct failover_look *look)
{
    router_hold(look->router, look->name, (deadline){0});
}

static void look_to_elect(struct failover_look *look)
{
    router_elect(look->router, look->name, look->service, &look->election);
}

/* --- SWITCHOVER ------------------------------------------------------------------------------- */

static fault switch_late(const struct failover_look *look)
{
    return fault_raise_state(FAULT_TIMEOUT, "57014",
                             "no other server of service \"%s\" became the primary within "
                             "switchover_timeout (%" PRId64 " ms), %" PRIu64
                             " servers were still in use; clients are served as before",
                             look->name, look->timeout.us / 1000, look->state.servers);
}

/* Something else has ended the hold: its time, or a reload. */
static fault switch_ended(const struct failover_look *look, uint64_t epoch)
{
    if (look->found && look->state.elected && look->state.epoch != epoch)
        return OK;
    if (look->found && now().us >= look->until.us)
        return switch_late(look);
    return fault_raise_state(FAULT_AGAIN, "57014",
                             "the switchover of service \"%s\" has ended before another server "
                             "became the primary; clients are served as before",
                             look->name);
}

/* Waits until another primary was elected.  Faults: TIMEOUT, CLOSED, CANCELLED. */
static fault switch_await(struct console *console, struct failover_look *look, uint64_t epoch)
{
    struct client *client = console->client;
    while (!look->state.elected || look->state.epoch == epoch) {
        if (now().us >= look->until.us)
            return switch_late(look);
        TRY(co_sleep(LOOK_PAUSE));
        if (stream_hung_up(&client->stream))
            return FAULT_CLOSED;
        if (client->asked) {
            client->asked = false;
            return fault_raise_state(FAULT_CANCELLED, "57014",
                                     "canceling statement due to user request");
        }
        failover_look(console, look, look_at_switch);
        if (!look->found || !look->state.held)
            return switch_ended(look, epoch);
    }
    return OK;
}

/* Reads the option TIMEOUT; 0: it is not there. */
static fault switch_timeout(const struct console_call *call, duration *ret)
{
    struct buffer accepts = BUFFER_INIT(256);
    ret->us = 0;
    if (call->value[0] == '\0' || setting_read(&timeout_option, span_text(call->value), &ret->us))
        return OK;
    setting_accepts(&timeout_option, &accepts);
    struct span text = buffer_span(&accepts);
    fault raised = fault_raise_state(FAULT_SYNTAX, "22023", "TIMEOUT \"%s\": expected %.*s",
                                     call->value, SPAN_ARG(text));
    buffer_fini(&accepts);
    return raised;
}

fault console_switchover(struct console *console, struct console_result *result)
{
    struct failover_look look = {.found = false};
    TRY(switch_timeout(console->call, &look.timeout));
    failover_look(console, &look, look_to_hold);
    if (!look.found)
        return fault_raise_state(FAULT_NAME, "42704", "there is no service \"%s\"", look.name);
    if (!look.state.elected)
        return fault_raise_state(FAULT_AGAIN, "55000",
                                 "no server of service \"%s\" is known to be its only primary",
                                 look.name);
    if (look.state.held)
        return fault_raise_state(FAULT_AGAIN, "55006",
                                 "a switchover of service \"%s\" is already under way", look.name);
    fault waited = switch_await(console, &look, look.state.epoch);
    failover_look(console, &look, look_to_resume);
    return waited;
}

/* --- ELECT ------------------------------------------------------------------------------------ */

fault console_elect(struct console *console, struct console_result *result)
{
    struct failover_look look = {.service = console->call->value};
    failover_look(console, &look, look_to_elect);
    switch (look.election.choice) {
    case ROUTER_CHOSEN:
        return OK;
    case ROUTER_NO_BACKEND:
        return fault_raise_state(FAULT_ROUTE, "42704",
                                 "backend \"%s\" does not exist; SHOW BACKENDS lists host and addr",
                                 look.name);
    case ROUTER_NO_SERVICE:
        return fault_raise_state(FAULT_NAME, "42704", "there is no service \"%s\"", look.service);
    case ROUTER_SERVICES:
        return fault_raise_state(FAULT_ROUTE, "42725",
                                 "several services have the backend \"%s\": %s; name one, as in "
                                 "ELECT \"%s\" SERVICE name",
                                 look.name, look.election.services, look.name);
    case ROUTER_SEVERAL:
        return fault_raise_state(FAULT_ROUTE, "42725",
                                 "several backends of one service have the host \"%s\"; give the "
                                 "addr, as in SHOW BACKENDS",
                                 look.name);
    case ROUTER_BEHIND:
        return fault_raise_state(FAULT_AGAIN, "55000",
                                 "backend \"%s\" is on an older timeline than the latest primary",
                                 look.name);
    default:
        return fault_raise_state(FAULT_AGAIN, "55000",
                                 "no recent probe has found backend \"%s\" to be a primary",
                                 look.name);
    }
}
